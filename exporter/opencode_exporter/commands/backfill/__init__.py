"""
The backfill: what was counted before the baseline, as samples with times.

Reads the history once more and notes when each event was; counts back from the
totals that the ledger had at the baseline, so that the last sample is the first
live value.  Never writes to the ledger.
"""

from opencode_exporter.commands.backfill.job import STDOUT as STDOUT
from opencode_exporter.commands.backfill.job import Job as Job
from opencode_exporter.commands.backfill.job import advice as advice
from opencode_exporter.commands.backfill.job import run as run
from opencode_exporter.commands.backfill.openmetrics import Written as Written
