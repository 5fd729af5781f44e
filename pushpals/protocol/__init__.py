"""The vocabulary: events, jobs, approvals, landings, bodies and errors. Pure: no I/O, no clock."""
