# SPDX-License-Identifier: Apache-2.0
# `shardcap -help` -> the FLAGS and ENVIRONMENT sections of shardcap(8). Anything it does not know ends the build.
function roff(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    sub(/^[.']/, "\\\\\\&&", s)
    return s
}
NR <= 2 { next } # usage and the sentence that the page has already
/^$/ { next }
/^Environment variables/ {
    print ".SH ENVIRONMENT"
    print roff($0)
    print ".PP"
    variables = 1
    next
}
variables { sub(/^ +/, ""); print roff($0); next }
/^[A-Z][^.]*:$/ { sub(/:$/, ""); if (!flags++) print ".SH FLAGS"; print ".SS " roff($0); next }
/^  -/ {
    split($0, part, /   +|  +/) # "", flag and argument, text
    text = $0
    sub(/^ +/, "", text)
    word = text
    sub(/  .*/, "", word)
    if (match(text, /  +/) == 0) { # a long flag and its text are one space apart
        word = $1 (($2 ~ /^[A-Z,.]+$/) ? " " $2 : "")
        text = substr(text, length(word) + 2)
    } else
        text = substr(text, RSTART + RLENGTH)
    name = word
    sub(/ .*/, "", name)
    argument = word
    sub(/^[^ ]+ ?/, "", argument)
    print ".TP"
    print "\\fB" roff(name) "\\fR" (argument == "" ? "" : " \\fI" roff(argument) "\\fR")
    print roff(text)
    next
}
{ if (!notes++) print ".SS Values"; print roff($0) }
