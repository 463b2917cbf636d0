// Asks heare-auth whether an API key is good. Needs Go 1.19 or later and nothing but its standard library.
//
//	echo "$KEY" | HEARE_AUTH_URL=http://localhost:8080 go run verify.go [CLIENT_IP [SCOPE...]]
//
// Exit code 0: good, the answer is printed. 1: refused. 2: nobody could say, which must be treated like a refusal.
// (`go run` makes 1 of every code but 0; what `go build` makes keeps them apart.)
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	attemptTime = 2 * time.Second
	totalTime   = 5 * time.Second
	attempts    = 3
	// A longer answer is none of ours.
	maxAnswer = 1 << 20
)

// Verdict says whether the key's holder is let in, and with which status to answer where that is not so.
type Verdict struct {
	Allowed    bool
	Status     int
	Code       string
	Answer     map[string]any
	RetryAfter *int
}

// What to answer one's own client, by the code of a refusal; any other code is a key that is no good.
var statusOfCode = map[string]int{"ip_not_allowed": 403, "insufficient_scope": 403, "rate_limited": 429}

// No redirect is followed, as it would get the key, and no proxy of the environment is used.
var client = &http.Client{
	Transport:     &http.Transport{MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Verify never fails for an outage: then Allowed is false and Status, which is for one's own client, is 503.
func Verify(apiKey, clientIP string, requiredScopes []string) Verdict {
	request := map[string]any{"api_key": apiKey}
	if clientIP != "" {
		request["client_ip"] = clientIP
	}
	if len(requiredScopes) > 0 {
		request["required_scopes"] = requiredScopes
	}
	body, err := json.Marshal(request)
	if err != nil {
		return Verdict{Status: 503, Code: "unavailable"}
	}
	deadline := time.Now().Add(totalTime)
	for attempt := 1; ; attempt++ {
		status, answer, retryAfter := ask(body, deadline)
		if verdict, decided := judge(status, answer, retryAfter); decided {
			return verdict
		}
		pause := 200 * time.Millisecond
		if retryAfter != nil {
			pause = time.Duration(*retryAfter) * time.Second
		}
		mayPass := status == 0 || status >= 500
		if !mayPass || attempt == attempts || !time.Now().Add(pause).Before(deadline) {
			return Verdict{Status: 503, Code: "unavailable", RetryAfter: retryAfter}
		}
		time.Sleep(pause)
	}
}

func judge(status int, answer map[string]any, retryAfter *int) (Verdict, bool) {
	valid, told := answer["valid"].(bool)
	switch {
	case status == 200 && told && valid:
		return Verdict{Allowed: true, Status: 200, Code: "good", Answer: answer}, true
	case (status == 403 || status == 429) && told && !valid:
		code, ok := answer["code"].(string)
		if !ok {
			code = "invalid"
		}
		own, ok := statusOfCode[code]
		if !ok {
			own = 401
		}
		return Verdict{Status: own, Code: code, Answer: answer, RetryAfter: retryAfter}, true
	case status == 413 || status == 422:
		return Verdict{Status: 401, Code: "malformed"}, true
	}
	return Verdict{}, false
}

// Status, answer and Retry-After of one attempt; status 0 is no whole answer. The time limit holds until its last byte.
func ask(body []byte, deadline time.Time) (int, map[string]any, *int) {
	limit := time.Now().Add(attemptTime)
	if deadline.Before(limit) {
		limit = deadline
	}
	ctx, cancel := context.WithDeadline(context.Background(), limit)
	defer cancel()
	base := os.Getenv("HEARE_AUTH_URL")
	if base == "" {
		base = "http://localhost:8080"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(base, "/")+"/verify", bytes.NewReader(body))
	if err != nil {
		return 0, nil, nil
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, nil, nil
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return 0, nil, nil
	}
	var retryAfter *int
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds >= 0 {
		retryAfter = &seconds
	}
	return response.StatusCode, object(text), retryAfter
}

// One whole JSON object and nothing behind it, or nothing.
func object(text []byte) map[string]any {
	var value map[string]any
	if json.Unmarshal(text, &value) != nil {
		return nil
	}
	return value
}

func main() {
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Println("not allowed: unavailable (answer 503)")
		os.Exit(2)
	}
	clientIP, scopes := "", []string{}
	if len(os.Args) > 1 {
		clientIP, scopes = os.Args[1], os.Args[2:]
	}
	verdict := Verify(strings.TrimSpace(line), clientIP, scopes)
	if verdict.Allowed {
		told, _ := json.Marshal(verdict.Answer)
		fmt.Println(string(told))
		return
	}
	wait := ""
	if verdict.RetryAfter != nil {
		wait = fmt.Sprintf(", Retry-After: %d", *verdict.RetryAfter)
	}
	fmt.Printf("not allowed: %s (answer %d%s)\n", verdict.Code, verdict.Status, wait)
	if verdict.Status == 503 {
		os.Exit(2)
	}
	os.Exit(1)
}
