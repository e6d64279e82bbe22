"""Load: Artillery runs a profile of `profile/`, its report is read a second time here and judged by the SLO.

Pure: `figures` (what a report says), `slo` (what must hold), `admitted` (whether limits held), `verdicts`,
`comparison`, `page` (the report to look at). With processes and files: `artillery`, `cluster`, `place`, `server_side`,
`progress`, `run`.
"""
