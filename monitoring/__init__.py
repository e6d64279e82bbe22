"""What an instance tells of itself: health for balancers, metrics for Prometheus."""
