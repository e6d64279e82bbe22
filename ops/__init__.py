"""The proving ground: load runs, drills, and what makes the dashboards. It knows the product, which knows nothing of
it."""

from flotilla._names import refuse_other_name

refuse_other_name(__name__, "flotilla.ops")
