"""What `onlineflows run` says of several lanes: each by itself, and whether they add up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from onlineflows.cli.lane_learner import LaneResult
from streams.ledger import WITHHELD

CONDITIONS = ("GOOD", "TAINTED", "INCOMPLETE", "INTERRUPTED", "ABORTED", "FAILED")
"""How a run can end, the worst last; a learner that left no word has FAILED."""

SUMMED = ("sent", "trained", "lost", "unaccounted")

HEADER = ("lane", "sent", "trained", "skipped", "lost", "unaccounted", "ended", "snapshot")


def condition_of(results: Sequence[LaneResult]) -> str:
    """Returns how the run ended: for the lane that it ended worst for."""
    return max((result.condition for result in results), key=CONDITIONS.index)


def sum_of(results: Sequence[LaneResult]) -> dict[str, Any]:
    """Returns the accounts of the whole stream: what was elsewhere for one was sent to another.

    Of lanes that ended at different events, as when one has failed, the longest counts.
    """
    ledgers = [result.ledger for result in results if result.ledger]
    skipped: Counter[str] = Counter()
    for ledger in ledgers:
        skipped.update(ledger["skipped"])
    whole = max(ledgers, key=lambda ledger: int(ledger["generated"]), default={})
    return {
        **{name: whole.get(name, 0) for name in ("generated", *WITHHELD)},
        **{name: sum(ledger[name] for ledger in ledgers) for name in SUMMED},
        "skipped": dict(skipped),
    }


def document_of(results: Sequence[LaneResult]) -> dict[str, Any]:
    """Returns the result for machines: the sum under the names that a run of one lane uses."""
    return {
        "condition": condition_of(results),
        "is_complete": all(result.is_complete for result in results),
        "ledger": sum_of(results),
        "lanes": [
            {"lane": result.lane, "exit_code": result.code, **result.document} for result in results
        ],
    }


def table_of(results: Sequence[LaneResult]) -> str:
    """Returns the result for people: a line of each lane, one of their sum, one of the run."""
    whole = sum_of(results)
    lines = [
        HEADER,
        *(
            (str(r.lane), *_counts(r.ledger), r.condition, str(r.document.get("snapshot") or "–"))
            for r in results
        ),
        ("all", *_counts(whole), "", ""),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "  ".join(
            word.rjust(width) if 0 < place < len(HEADER) - 2 else word.ljust(width)
            for place, (word, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    withheld = "".join(
        f", {whole[name]:,} {name.replace('_', ' ')}" for name in WITHHELD if whole[name]
    )
    said = {str(r.ledger.get("text", "")) for r in results} - {""}
    rows.append(
        f"run {condition_of(results)}: {whole['generated']:,} events{withheld}, "
        f"{whole['sent']:,} sent to {len(results)} lanes"
    )
    rows += [f"the producer says: {text}" for text in sorted(said)]
    if not all(result.is_complete for result in results):
        rows.append("stopped before the end of the run; go on with --continue")
    return "\n".join(rows)


def _counts(ledger: Mapping[str, Any]) -> tuple[str, ...]:
    if not ledger:
        return ("–",) * 5
    skipped = sum(ledger["skipped"].values())
    numbers = (ledger["sent"], ledger["trained"], skipped, ledger["lost"], ledger["unaccounted"])
    return tuple(f"{n:,}" for n in numbers)


def problems_of(results: Sequence[LaneResult], account: Mapping[str, Any] | None) -> list[str]:
    """Returns in words whatever doesn't add up within a lane or between lanes and producer.

    Args:
        results: of lanes that all came to the end of the run.
        account: what the producer counted; None where it left no account.
    """
    problems = [
        f"lane {result.lane}: {problem}"
        for result in results
        for problem in result.ledger["problems"]
    ]
    problems += [
        f"lane {result.lane}: {result.ledger['unaccounted']} events unaccounted for"
        for result in results
        if result.ledger["unaccounted"]
    ]
    if account is None:
        return [*problems, "the producer was killed before it could say what it had sent"]
    whole = sum_of(results)
    for name in ("generated", *WITHHELD):
        for result in results:
            if result.ledger[name] != account[name]:
                found = result.ledger[name]
                problems.append(
                    f"{account[name]} {name} by the producer, {found} in lane {result.lane}"
                )
    taken = whole["trained"] + sum(whole["skipped"].values()) + whole["lost"]
    for what, found in (("sent to", whole["sent"]), ("trained, skipped or lost in", taken)):
        if found != account["sent"]:
            problems.append(
                f"{account['sent']} events sent by the producer, {found} {what} all lanes together"
            )
    return problems
