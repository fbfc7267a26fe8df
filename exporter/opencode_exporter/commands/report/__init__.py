"""
The report: the figures of a snapshot, as a page to read and as JSON.

Reads nothing and counts nothing; the snapshot is the one that is scraped.
"""

from opencode_exporter.commands.report.document import Report as Report
from opencode_exporter.commands.report.figures import Asked as Asked
from opencode_exporter.commands.report.figures import figures as figures
from opencode_exporter.commands.report.page import output as output
from opencode_exporter.commands.report.page import render as render
