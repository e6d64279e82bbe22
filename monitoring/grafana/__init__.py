"""Grafana as code: the dashboards' content (`panels`), the JSON made of it (`build`), and what provisions both."""
