"""Leaves of counted functions those that ran often: usage: often.py COUNTS, a profile of llvm-profdata in its text form.

What a service does once or for each of its keys is better laid out as it always was: it would only grow.
"""

import sys
from pathlib import Path

# Of as many verifies as the training makes, far more pass through each function that matters.
OFTEN = 20_000
# Part of the names of what describes the routes: it runs once, in more steps than that.
DESCRIPTION = "4http7openapi"


def main() -> None:
    records = Path(sys.argv[1]).read_text().split("\n\n")
    head, first = records[0].split(":ir\n", 1)
    kept = [record for record in (first, *records[1:]) if most(record.splitlines()) >= OFTEN and DESCRIPTION not in record]
    print(head + ":ir\n" + "\n\n".join(kept) + "\n")


def most(record: list[str]) -> int:
    """The largest of a function's counters."""
    if "# Counter Values:" not in record:
        return 0
    begin = record.index("# Counter Values:") + 1
    count = int(record[record.index("# Num Counters:") + 1])
    return max(int(value) for value in record[begin : begin + count])


main()
