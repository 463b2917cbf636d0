// Does something again and again while a page is open and looked at.

/** The next time begins once the last is over; what fails is tried again, more slowly. */
export function every(milliseconds, carryOut, signal) {
  let wait = milliseconds;
  const next = () => {
    const timer = setTimeout(async () => {
      if (!document.hidden) {
        try {
          await carryOut();
          wait = milliseconds;
        } catch {
          wait = Math.min(wait * 2, 60_000);
        }
      }
      if (!signal.aborted) next();
    }, wait);
    signal.addEventListener("abort", () => clearTimeout(timer), { once: true });
  };
  next();
}
