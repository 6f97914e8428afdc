"""A world to measure schedulers in: a strict service, callers, and a judge, on virtual time.

The service (`service`) counts every arrival in an exact sliding window and answers 429 beyond it;
requests and answers take a random time on their way. SMS come by a law (`laws`) from the instant at
which the caller triggers them; callers come by a workload (`workloads`). Contenders drive the same
world with the same draws: this package's whole client and manager (`ours`), what people use today
(`peers`), and one that knows when each SMS comes (`oracle`). The judge (`score`) reads the
service's own records and the callers' clocks. `frontier` computes what polling can reach at best.

    from schedworld import Ours, measure

    score = measure(Ours(), law="first", workload="bulk 500, 60 in flight", seed=1)
    print(score.per_minute, score.mean_delay, score.lost)
"""

from .laws import LAWS, Law
from .measure import Contender, measure
from .ours import Ours
from .score import Score
from .workloads import WORKLOADS, Workload

__all__ = ["LAWS", "WORKLOADS", "Contender", "Law", "Ours", "Score", "Workload", "measure"]
