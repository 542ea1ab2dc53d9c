"""From finished runs to a page. It knows neither configs nor stages."""
