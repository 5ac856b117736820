"""What only silicon can tell: a short test of the arithmetic that no document settles.

Of the KPU there is a simulator and a driver, no specification. `ask` runs hand-made
kmodels of one layer each and tells by what comes back which of the possible rules
this chip follows.
"""

from k210.silicon.report import Answer, ask, save, table

__all__ = ["Answer", "ask", "save", "table"]
