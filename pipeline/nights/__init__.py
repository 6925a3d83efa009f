"""What a night adds to a comparison: a replay, what got worse and why, an alarm, a trend.

Read `night` first, which runs one after the other; `record` is what a night leaves for those after
it. `replay` trains a finished training again, digit by digit; `regressions` finds what is worse
than on the last good night, by what both have `logged`; `causes` what differs since, of which
`bisection` takes one thing back; `trend` keeps figures over nights, and `hook` tells people.
Imports every room but the entry points.
"""
