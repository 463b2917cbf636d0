//! Cuts values out of a JSON text without decoding them, and finds every text wrong that is no JSON. A document of a
//! million keys is read by this; `serde_json` would look at most bytes twice.

use std::{borrow::Cow, str::FromStr};

use serde_json::value::RawValue;

/// A value as it stands in a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<'a> {
    written: &'a str,
    /// Whether it is a string with escapes in it.
    is_escaped: bool,
}

impl<'a> Json<'a> {
    /// As it was written.
    pub fn get(self) -> &'a str {
        self.written
    }

    pub fn is_string(self) -> bool {
        self.written.starts_with('"')
    }

    pub fn is_object(self) -> bool {
        self.written.starts_with('{')
    }

    /// What stands between a string's quotation marks, escapes and all.
    pub fn inside(self) -> Option<&'a str> {
        self.written.strip_prefix('"')?.strip_suffix('"')
    }

    /// What a string says, read as something whose texts never have a backslash in them: then one that can be read as it
    /// stands has no escapes.
    pub fn parse<T: FromStr>(self) -> Option<T> {
        let as_it_stands = self.inside()?.parse().ok();
        as_it_stands.or_else(|| self.text()?.parse().ok())
    }

    /// A string's text, borrowed exactly when it was written without escapes; `None` when it is no string or holds
    /// half a surrogate pair, which is no text.
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inside = self.inside()?;
        if self.is_escaped {
            return serde_json::from_str(self.written).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(inside))
    }
}

impl<'a> From<&'a RawValue> for Json<'a> {
    fn from(raw: &'a RawValue) -> Self {
        let written = raw.get();
        Self {
            written,
            is_escaped: written.starts_with('"') && written.contains('\\'),
        }
    }
}

/// A place in a JSON text.
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

/// The text is no JSON; what was passed until then counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

/// How deep values may be nested before they are left to `serde_json`, which needs no stack for them.
const MAX_DEPTH: u8 = 64;

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// Passes an object. `member` is called behind each name and has to pass the value.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Json<'a>) -> Result<(), NotJson>,
    ) -> Result<(), NotJson> {
        self.pass(b'{')?;
        if self.peek()? == b'}' {
            return self.pass(b'}');
        }
        loop {
            let name = self.name()?;
            member(self, name)?;
            if self.ends(b'}')? {
                return Ok(());
            }
        }
    }

    /// Passes the name of a member, with its colon.
    pub fn name(&mut self) -> Result<Json<'a>, NotJson> {
        if self.peek()? != b'"' {
            return Err(NotJson);
        }
        let name = self.string()?;
        self.pass(b':')?;
        Ok(name)
    }

    /// Passes a list. `element` is called at each element and has to pass it.
    pub fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<(), NotJson>) -> Result<(), NotJson> {
        self.pass(b'[')?;
        if self.peek()? == b']' {
            return self.pass(b']');
        }
        loop {
            element(self)?;
            if self.ends(b']')? {
                return Ok(());
            }
        }
    }

    /// Passes any value.
    pub fn value(&mut self) -> Result<Json<'a>, NotJson> {
        if self.peek()? == b'"' {
            return self.string();
        }
        let from = self.at;
        self.pass_value(MAX_DEPTH)?;
        Ok(Json {
            written: &self.text[from..self.at],
            is_escaped: false,
        })
    }

    /// The byte that the next token begins with.
    #[inline]
    pub fn peek(&mut self) -> Result<u8, NotJson> {
        loop {
            let byte = *self.text.as_bytes().get(self.at).ok_or(NotJson)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Ok(byte);
            }
            self.at += 1;
        }
    }

    /// How much was passed.
    pub fn at(&self) -> usize {
        self.at
    }

    pub fn pass(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek()? != byte {
            return Err(NotJson);
        }
        self.at += 1;
        Ok(())
    }

    /// Passes what stands behind an element, a comma or the end, and tells whether it was the end.
    pub fn ends(&mut self, end: u8) -> Result<bool, NotJson> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Ok(false),
            _ if byte == end => Ok(true),
            _ => Err(NotJson),
        }
    }

    /// Nothing but white space may be left.
    pub fn end(mut self) -> Result<(), NotJson> {
        if self.peek().is_ok() { Err(NotJson) } else { Ok(()) }
    }

    fn pass_value(&mut self, depth: u8) -> Result<(), NotJson> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' if depth == 0 => self.pass_deep(),
            b'{' => self.object(|scanner, _| scanner.pass_value(depth - 1)),
            b'[' => self.list(|scanner| scanner.pass_value(depth - 1)),
            b't' => self.pass_word("true"),
            b'f' => self.pass_word("false"),
            b'n' => self.pass_word("null"),
            _ => self.pass_number(),
        }
    }

    fn pass_deep(&mut self) -> Result<(), NotJson> {
        let mut values = serde_json::Deserializer::from_str(&self.text[self.at..]).into_iter::<&RawValue>();
        let Some(Ok(_)) = values.next() else {
            return Err(NotJson);
        };
        self.at += values.byte_offset();
        Ok(())
    }

    fn pass_word(&mut self, word: &str) -> Result<(), NotJson> {
        if !self.rest().starts_with(word.as_bytes()) {
            return Err(NotJson);
        }
        self.at += word.len();
        Ok(())
    }

    fn pass_number(&mut self) -> Result<(), NotJson> {
        self.pass_one_of(b"-");
        if !self.pass_one_of(b"0") {
            self.pass_digits()?;
        }
        if self.pass_one_of(b".") {
            self.pass_digits()?;
        }
        if self.pass_one_of(b"eE") {
            self.pass_one_of(b"+-");
            self.pass_digits()?;
        }
        Ok(())
    }

    fn pass_digits(&mut self) -> Result<(), NotJson> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count > 0 { Ok(()) } else { Err(NotJson) }
    }

    fn pass_one_of(&mut self, bytes: &[u8]) -> bool {
        let passes = self.rest().first().is_some_and(|byte| bytes.contains(byte));
        self.at += usize::from(passes);
        passes
    }

    /// To be called at the quotation mark.
    #[inline]
    fn string(&mut self) -> Result<Json<'a>, NotJson> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        let mut is_escaped = false;
        loop {
            at = next_special(bytes, at);
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => at += escape_len(&bytes[at..]).ok_or(NotJson)?,
                Some(_) | None => return Err(NotJson),
            }
            is_escaped = true;
        }
        let from = self.at;
        self.at = at + 1;
        Ok(Json {
            written: &self.text[from..self.at],
            is_escaped,
        })
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }
}

fn escape_len(escape: &[u8]) -> Option<usize> {
    match escape.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' if escape.get(2..6)?.iter().all(u8::is_ascii_hexdigit) => Some(6),
        _ => None,
    }
}

/// The place of the next byte that ends a string, begins an escape or must not be in a string; else the text's end.
/// Eight bytes are looked at in one step.
#[inline]
fn next_special(bytes: &[u8], mut at: usize) -> usize {
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let marks = special_bytes(u64::from_le_bytes(*word));
        if marks != 0 {
            return at + marks.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..b' ');
    at + bytes[at..].iter().take_while(|byte| !special(byte)).count()
}

/// The highest bit of each byte that is a quotation mark, a backslash or a control character; above the first such
/// byte, perhaps of others too.
fn special_bytes(word: u64) -> u64 {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u8| word.wrapping_sub(LOWEST * u64::from(limit)) & !word;
    // With this bit turned over, the quotation mark stands next to the control characters and the space elsewhere.
    let control_or_quote = below(word ^ (LOWEST * 2), b' ' + 1);
    let backslash = below(word ^ (LOWEST * u64::from(b'\\')), 1);
    (control_or_quote | backslash) & HIGHEST
}

#[cfg(test)]
mod tests;
