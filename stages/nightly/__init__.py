"""``doit nightly``: every project on every matching board, unattended.

``plan`` says what is to be run, ``store`` keeps its state (so that a run survives a
crash), ``scheduler`` starts a process of ``work`` for each job and board, ``outcome``
tells what came of it, ``regression`` compares it with the last good run, and
``page``, ``junit`` and ``summary`` tell people and machines.

The split of verdicts is KernelCI's: *pass* and *fail* are about the model, *error* is
about boards and all else around it, *skipped* is a job that found no board.
"""
