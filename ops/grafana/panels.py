"""What the dashboards show: each panel's title, what it tells, its unit, its queries and its thresholds.

`{s}` in a query stands for the selection by job, namespace and instance, `{r}` for the range of rates. `build` makes
Grafana's JSON of it. The content of a panel is here alone.
"""

from dataclasses import dataclass

Steps = tuple[tuple[float, str], ...]
"""From which value on a colour holds; below the first it is green."""


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression and the legend of its series."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `kind`: timeseries or stat; `width` of 24 columns."""

    title: str
    tells: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    steps: Steps = ()
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `uid` is also its file's name."""

    uid: str
    title: str
    tells: str
    panels: tuple[Panel, ...]


def _line(
    title: str,
    tells: str,
    unit: str,
    *queries: tuple[str, str],
    width: int = 12,
    steps: Steps = (),
    stacked: bool = False,
) -> Panel:
    return Panel(title, tells, unit, tuple(Query(*q) for q in queries), width=width, steps=steps, stacked=stacked)


def _number(title: str, tells: str, unit: str, expression: str, *, steps: Steps = (), width: int = 4) -> Panel:
    return Panel(title, tells, unit, (Query(expression, title),), kind="stat", width=width, height=4, steps=steps)


def _quantiles(metric: str, by: str = "") -> tuple[tuple[str, str], ...]:
    groups, label = (f"{by}, le", f" {{{{{by}}}}}") if by else ("le", "")
    return tuple(
        (f"histogram_quantile({q}, sum by ({groups}) (rate({metric}_bucket{{s}}[{{r}}])))", f"p{round(q * 100)}{label}")
        for q in (0.5, 0.95, 0.99)
    )


SLOW: Steps = ((0.05, "yellow"), (0.1, "red"))
ERRORS: Steps = ((0.001, "yellow"), (0.0144, "red"))

OVERVIEW = Dashboard(
    "flotilla-overview",
    "Flotilla: overview",
    "Is everything well? Objectives, instances, connections.",
    (
        _number("Ready instances", "Instances that should get clients. Fewer than there are: readiness_down.", "short",
                "sum(app_ready{s})", steps=((-1, "red"), (1, "green"))),
        _number("Reachable instances", "Instances that Prometheus reaches.", "short", "sum(up{s})",
                steps=((-1, "red"), (1, "green"))),
        _number("Connections", "WebSocket connections open now.", "short", "sum(flotilla_connections{s})"),
        _number("Deliveries within 0.1 s", "Share of deliveries that took at most 0.1 s; the objective is 99 %.",
                "percentunit",
                'sum(rate(flotilla_delivery_seconds_bucket{s,le="0.1"}[{r}])) / sum(rate(flotilla_delivery_seconds_count{s}[{r}]))',
                steps=((0, "red"), (0.95, "yellow"), (0.99, "green"))),
        _number("Errors of ours", "Share of commands answered with error 100; the objective is below 0.1 %.",
                "percentunit",
                'sum(rate(flotilla_command_errors_total{s,code="100"}[{r}])) / sum(rate(flotilla_messages_in_total{s,type!="pong"}[{r}]))',
                steps=ERRORS),
        _number("Alerts firing", "Alerts that fire now.", "short",
                'count(ALERTS{alertstate="firing"}) or vector(0)', steps=((1, "red"),)),
        _line("Readiness", "1 while an instance should get clients; a line that ends is an instance that is gone.", "short",
              ("app_ready{s}", "{{instance}}")),
        _line("Failing checks", "Checks of the readiness that do not hold, by name.", "short",
              ("sum by (check) (1 - app_ready_check{s})", "{{check}}"), steps=((1, "red"),)),
        _line("Connections", "Open connections by instance.", "short", ("flotilla_connections{s}", "{{instance}}"), stacked=True),
        _line("Publications", "From clients, and written to connections.", "ops",
              ("sum(rate(flotilla_publications_in_total{s}[{r}]))", "in"),
              ("sum(rate(flotilla_publications_out_total{s}[{r}]))", "out")),
        _line("Delivery time", "From when Redis took a publication to its last local write. Red above the objective.", "s",
              *_quantiles("flotilla_delivery_seconds"), steps=SLOW),
        _line("Leases and instances", "Instances that hold a lease against instances Prometheus reaches: they must agree.",
              "short", ("max(flotilla_leases{s})", "leases"), ("count(up{s} == 1)", "reachable")),
        _line("Versions", "What runs, by version.", "short",
              ("count by (version, django, python) (flotilla_build_info{s})", "{{version}} on Django {{django}}, Python {{python}}")),
    ),
)  # fmt: skip

WEBSOCKETS = Dashboard(
    "flotilla-websockets",
    "Flotilla: WebSockets",
    "Who is connected, what is said, who is dropped, who came back.",
    (
        _line("Connections", "Open connections by instance.", "short", ("flotilla_connections{s}", "{{instance}}")),
        _line("Users and channels", "Distinct users and channels with subscribers, summed over instances.", "short",
              ("sum(flotilla_users{s})", "users"), ("sum(flotilla_channels{s})", "channels")),
        _line("Opened", "Connections accepted.", "ops", ("sum by (instance) (rate(flotilla_connections_opened_total{s}[{r}]))", "{{instance}}")),
        _line("Admission", "Clients let in: a second on average, the most within any second, and what an instance says it can take.", "short",
              ("sum by (instance) (rate(flotilla_connections_opened_total{s}[{r}]))", "{{instance}}: average"),
              ("flotilla_admission_peak{s}", "{{instance}}: peak"), ("min(flotilla_admission_rate{s})", "admission_rate"),
              ("sum(flotilla_admission_waiting{s})", "waiting"), ("max(flotilla_admission_longest_wait_seconds{s})", "longest wait, s")),
        _line("Closed, by code", "1000 and 1001: by the client. 3001: drained. 3008: did not read. 3012: silent.", "ops",
              ("sum by (code) (rate(flotilla_connections_closed_total{s}[{r}]))", "{{code}}")),
        _line("Messages in, by type", "Commands and pongs of clients.", "ops",
              ("sum by (type) (rate(flotilla_messages_in_total{s}[{r}]))", "{{type}}")),
        _line("Messages out, by type", "What was written to connections.", "ops",
              ("sum by (type) (rate(flotilla_messages_out_total{s}[{r}]))", "{{type}}")),
        _line("Commands refused, by code", "100: ours. 103: not permitted. 111: too many.", "ops",
              ("sum by (code) (rate(flotilla_command_errors_total{s}[{r}]))", "{{code}}")),
        _line("Recoveries", "Clients that came back: recovered, or why not.", "ops",
              ("sum by (outcome, reason) (rate(flotilla_recoveries_total{s}[{r}]))", "{{outcome}} {{reason}}")),
        _line("Outgoing bytes waiting", "What clients have not taken yet, by instance.", "bytes",
              ("flotilla_outgoing_waiting_bytes{s}", "{{instance}}")),
        _line("Slow clients dropped", "Ended with 3008 because they did not read.", "ops",
              ("sum by (instance) (rate(flotilla_slow_clients_dropped_total{s}[{r}]))", "{{instance}}"), steps=((0.05, "red"),)),
        _line("Presence", "Entries that instances vouch for.", "short",
              ("sum by (scope) (flotilla_presence_members{s})", "{{scope}}")),
        _line("Presence: drift and reaped", "Connections without an entry or the reverse; entries removed of dead instances.",
              "short", ("sum(flotilla_presence_drift{s})", "drift"),
              ("sum by (scope) (increase(flotilla_presence_reaped_total{s}[{r}]))", "reaped {{scope}}"), steps=((1, "red"),)),
    ),
)  # fmt: skip

LIMITS = Dashboard(
    "flotilla-limits",
    "Flotilla: rate limits and HTTP 429",
    "Which limits bite, how fast they decide, and what HTTP answers.",
    (
        _line("Denied, by policy", "Denials a second; far above the policy's own hour: rl_spike.", "ops",
              ('sum by (policy) (rate(flotilla_ratelimit_decisions_total{s,outcome="denied"}[{r}])) or vector(0)', "{{policy}}"), steps=((5, "red"),)),
        _line("Decisions, by outcome", "near: allowed, at 80 % or more. shadow: would be denied.", "ops",
              ("sum by (outcome) (rate(flotilla_ratelimit_decisions_total{s}[{r}]))", "{{outcome}}"), stacked=True),
        _line("Decided without Redis", "failed_…, local: the limiter's Redis does not answer.", "ops",
              ('sum by (outcome) (rate(flotilla_ratelimit_decisions_total{s,outcome=~"failed_.+|local"}[{r}])) or vector(0)', "{{outcome}}"),
              steps=((0.1, "red"),)),
        _line("Time of a decision", "Decisions that asked Redis.", "s", *_quantiles("flotilla_ratelimit_decision_seconds")),
        _line("HTTP responses, by status", "429: a limit; 5xx: ours.", "ops",
              ("sum by (status) (rate(django_http_responses_total_by_status_total{s}[{r}]))", "{{status}}")),
        _line("HTTP 429", "Requests that a limit refused, of all routes.", "ops",
              ('sum(rate(django_http_responses_total_by_status_total{s,status="429"}[{r}])) or vector(0)', "429"), steps=((5, "red"),)),
        _line("HTTP responses, by route", "By the route's name.", "ops",
              ("sum by (view) (rate(django_http_responses_total_by_status_view_method_total{s}[{r}]))", "{{view}}")),
        _line("WebSocket commands denied", "Answered with 111.", "ops",
              ('sum(rate(flotilla_command_errors_total{s,code="111"}[{r}]))', "111")),
    ),
)  # fmt: skip

LATENCY = Dashboard(
    "flotilla-latency",
    "Flotilla: latency",
    "Where the time of a delivery and of a request goes.",
    (
        _line("Delivery time", "Redis to the last local write; lag and fan-out together.", "s",
              *_quantiles("flotilla_delivery_seconds"), steps=SLOW),
        _line("Slow deliveries", "Share that took longer than 0.1 s.", "percentunit",
              ('1 - sum(rate(flotilla_delivery_seconds_bucket{s,le="0.1"}[{r}])) / sum(rate(flotilla_delivery_seconds_count{s}[{r}]))', "slow"),
              steps=((0.01, "yellow"), (0.06, "red"))),
        _line("Hub lag", "Redis to the arrival in the process: Redis, the network, and the wait for the loop.", "s",
              *_quantiles("flotilla_hub_lag_seconds")),
        _line("Fan-out time", "Arrival to the last local write: this process's own work.", "s",
              *_quantiles("flotilla_fan_out_seconds")),
        _line("Delivery time p95, by instance", "One that stands out is short of CPU, or far from Redis.", "s",
              ("histogram_quantile(0.95, sum by (instance, le) (rate(flotilla_delivery_seconds_bucket{s}[{r}])))", "{{instance}}"), steps=SLOW),
        _line("HTTP request time", "With all middleware.", "s",
              *_quantiles("django_http_requests_latency_including_middlewares_seconds")),
        _line("HTTP request time p95, by route", "By the route's name.", "s",
              ("histogram_quantile(0.95, sum by (view, le) (rate(django_http_requests_latency_seconds_by_view_method_bucket{s}[{r}])))", "{{view}}")),
        _line("Redis round trip", "From sending a command to its reply.", "s", *_quantiles("flotilla_redis_round_trip_seconds"), steps=((0.05, "red"),)),
    ),
)  # fmt: skip

REDIS = Dashboard(
    "flotilla-redis",
    "Flotilla: Redis and fan-out",
    "Commands, failures and reconnects by shard; gaps and how they were filled.",
    (
        _line("Commands", "Sent to each Redis.", "ops", ("sum by (shard) (rate(flotilla_redis_commands_total{s}[{r}]))", "Redis {{shard}}")),
        _line("Calls given up and refused", "Given up: no answer. Refused: answered with an error.", "ops",
              ("sum by (shard) (rate(flotilla_redis_unavailable_total{s}[{r}]))", "given up, Redis {{shard}}"),
              ("sum by (shard) (rate(flotilla_redis_refused_total{s}[{r}]))", "refused, Redis {{shard}}"), steps=((0.2, "red"),)),
        _line("Connections made", "Command and pub/sub connections that were made again.", "short",
              ("sum by (shard) (increase(flotilla_redis_connects_total{s}[{r}]))", "commands, Redis {{shard}}"),
              ("sum by (shard) (increase(flotilla_pubsub_reconnects_total{s}[{r}]))", "pub/sub, Redis {{shard}}")),
        _line("Round trip", "From sending a command to its reply, by shard.", "s",
              *_quantiles("flotilla_redis_round_trip_seconds", "shard"), steps=((0.05, "red"),)),
        _line("Gaps", "Looked up in history, and those it could not fill.", "ops",
              ("sum(rate(flotilla_refills_total{s}[{r}]))", "refills"),
              ("sum(rate(flotilla_positions_lost_total{s}[{r}]))", "lost"), steps=((0.2, "red"),)),
        _line("Channels not live", "Channels that wait for more than 5 s to be confirmed, or for what is missing.", "short",
              ("sum by (state) (flotilla_channels_not_live{s})", "{{state}}"), steps=((1, "red"),)),
        _line("Tasks begun again", "Tasks that failed, by name.", "short",
              ("sum by (task) (increase(flotilla_task_restarts_total{s}[{r}]))", "{{task}}"), steps=((1, "red"),)),
        _line("Publications from history", "Handed on from history instead of the layer.", "ops",
              ("sum(rate(flotilla_refilled_publications_total{s}[{r}]))", "publications")),
        _line("Fan-out factor", "Writes per publication that a process received.", "short",
              ("sum(rate(flotilla_publications_out_total{s}[{r}])) / sum(rate(flotilla_fan_out_seconds_count{s}[{r}]))", "writes")),
        _line("Fan-out time", "Arrival to the last local write.", "s", *_quantiles("flotilla_fan_out_seconds")),
    ),
)  # fmt: skip

PROCESS = Dashboard(
    "flotilla-process",
    "Flotilla: CPU, memory and loop lag",
    "What each process uses, and whether its event loop keeps up.",
    (
        _line("CPU", "Cores used; one process can use one.", "percentunit", ("rate(process_cpu_seconds_total{s}[{r}])", "{{instance}}"),
              steps=((0.8, "yellow"), (0.95, "red"))),
        _line("Memory", "Resident memory.", "bytes", ("process_resident_memory_bytes{s}", "{{instance}}")),
        _line("Memory per connection", "Resident memory by open connections; the empty process counts in.", "bytes",
              ("process_resident_memory_bytes{s} / (flotilla_connections{s} > 0)", "{{instance}}")),
        _line("Open files", "Each connection is one.", "short", ("process_open_fds{s}", "{{instance}}")),
        _line("Open files, of those allowed", "Full: nobody can connect.", "percentunit",
              ("process_open_fds{s} / process_max_fds{s}", "{{instance}}"), steps=((0.8, "red"),)),
        _line("Event-loop lag, average", "How late the loop wakes up. Above 0.1 s: event_loop_lag.", "s",
              ("rate(flotilla_event_loop_lag_seconds_sum{s}[{r}]) / rate(flotilla_event_loop_lag_seconds_count{s}[{r}])", "{{instance}}"),
              steps=((0.05, "yellow"), (0.1, "red"))),
        _line("Event-loop lag", "Over all instances.", "s", *_quantiles("flotilla_event_loop_lag_seconds")),
        _line("Uptime", "Since the process began.", "s", ("time() - process_start_time_seconds{s}", "{{instance}}")),
    ),
)  # fmt: skip

DASHBOARDS = (OVERVIEW, WEBSOCKETS, LIMITS, LATENCY, REDIS, PROCESS)
