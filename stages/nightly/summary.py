"""All there is to say about a run, as plain data: for machines, the page and JUnit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.nightly import request
from stages.nightly.outcome import VERDICTS
from stages.nightly.regression import Finding, last_good
from stages.nightly.rows import JobRow
from stages.nightly.store import Store

SCHEMA = 1

Summary = dict[str, Any]


def summarize(
    store: Store, root: Path, run: int, findings: Sequence[Finding], finished: str
) -> Summary:
    """What came of a run.

    ``jobs`` are the measurements, each with ``project``, ``board``, ``verdict``,
    ``cause``, ``message``, ``figures`` (see ``outcome.figures_of``), ``attempts``,
    ``seconds`` of all of them, ``log`` (of the last, or else of the preparation,
    relative to build/nightly),
    ``good_run`` (the last good run) and ``worse`` (sentences). ``status`` is the exit
    status: 1 if anything is worse, 2 if no model could be judged, otherwise 0.
    """
    rows = store.jobs(run)
    prepared = {job.project: job for job in rows if job.kind == "prepare"}
    jobs = [
        _job(store, root, job, prepared.get(job.project), findings)
        for job in rows
        if job.kind == "measure"
    ]
    counts = Counter(job["verdict"] for job in jobs)
    (row,) = (each for each in store.runs() if each.id == run)
    return {
        "schema": SCHEMA,
        "run": run,
        "started": row.started,
        "finished": finished,
        "status": _status(counts, findings),
        "verdicts": {verdict: counts[verdict] for verdict in VERDICTS},
        "worse": [asdict(finding) for finding in findings],
        "given_up": store.quarantined(run),
        "jobs": jobs,
    }


def _status(counts: Counter[str], findings: Sequence[Finding]) -> int:
    if findings:
        return 1
    return 0 if counts["pass"] + counts["fail"] else 2


def _job(
    store: Store,
    root: Path,
    job: JobRow,
    prepared: JobRow | None,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    found, attempts = job.outcome, store.attempts(job.id)
    assert found is not None, "a finished run has no job without an outcome"
    good = last_good(store, job)
    return {
        "project": job.project,
        "board": job.board or (attempts[-1].board if attempts else ""),
        "verdict": found.verdict,
        "cause": found.cause,
        "message": found.message,
        "figures": found.figures,
        "attempts": len(attempts),
        "seconds": round(sum(each.seconds or 0 for each in attempts), 3),
        "log": _log(store, root, job) or (prepared and _log(store, root, prepared)),
        "good_run": good.run if good else None,
        "worse": [
            finding.words
            for finding in findings
            if (finding.project, finding.board) == (job.project, job.board)
        ],
    }


def _log(store: Store, root: Path, job: JobRow) -> str | None:
    """The log of a job's last attempt; None if there was none."""
    attempts = store.attempts(job.id)
    if not attempts:
        return None
    log = request.attempt_folder(root, job, attempts[-1]) / request.LOG
    return log.relative_to(root / "build" / "nightly").as_posix()


def sentence(summary: Summary) -> str:
    """The run in one line."""
    counts = ", ".join(
        f"{count} {verdict}" for verdict, count in summary["verdicts"].items() if count
    )
    verdict = {
        0: "nothing is worse than in the last good run",
        1: f"{len(summary['worse'])} worse than in the last good run",
        2: "no model could be judged",
    }[summary["status"]]
    return f"run {summary['run']}: {counts or 'no jobs'}; {verdict}"
