"""What an instance tells of itself: health for balancers, metrics for Prometheus."""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.monitoring")
