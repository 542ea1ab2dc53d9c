"""From finished runs to a page. It knows neither configs nor stages."""

from sslx.report.write import make, table_text

__all__ = ["make", "table_text"]
