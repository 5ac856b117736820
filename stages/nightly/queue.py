"""Which job comes next, and on which board: fair to boards and to projects."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from stages.nightly.rows import JobRow


def choose(
    waiting: Sequence[JobRow],
    free: Collection[str],
    served: Mapping[str, int],
    failed_on: Mapping[int, Collection[str]],
) -> tuple[JobRow, str] | None:
    """The next job and its board; None where no free board has one.

    The board with the most to do comes first, so that all end at about the same time.
    On it the project that has been served least, so that each gets its first results
    early. A job that has failed on a board goes to another if there is one.

    Args:
        waiting: jobs that are ready to run.
        free: the boards that have nothing to do.
        served: how many jobs of each project were started.
        failed_on: the boards that each job has failed on, by its id.
    """
    load = Counter(board for job in waiting for board in job.candidates)
    for board in sorted(free, key=lambda each: (-load[each], each)):
        fitting = [job for job in waiting if board in job.candidates]
        jobs = [
            job
            for job in fitting
            if board not in failed_on.get(job.id, ())
            or set(job.candidates) <= set(failed_on[job.id])
        ]
        if jobs:
            return min(
                jobs, key=lambda job: (served.get(job.project, 0), job.id)
            ), board
    return None
