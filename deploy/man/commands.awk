# SPDX-License-Identifier: Apache-2.0
# What `shardcapctl COMMAND -help` prints, one command after the other, as sections of a manual page.

function text(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    return s ~ /^[.']/ ? "\\&" s : s
}

/^usage: shardcapctl / {
    sub(/^usage: shardcapctl \[-rundir DIR\] /, "")
    name = $1
    sub(/^[^ ]+ ?/, "")
    print ".SS " text(name)
    print ".B shardcapctl " text(name)
    if ($0 != "")
        print text($0)
    print ".PP"
    next
}
/^exit status: / {
    sub(/^exit status: /, "")
    print ".PP"
    print "Exit status: " text($0) "."
    next
}
/^  -/ {
    line = substr($0, 3)
    # An explanation in the same line stands behind two blanks or more.
    at = match(line, /  +/)
    head = at ? substr(line, 1, at - 1) : line
    split(head, part, " ")
    print ".TP"
    if (part[2] != "")
        print ".BI " text(part[1]) " \" " text(part[2]) "\""
    else
        print ".B " text(part[1])
    if (at)
        print text(substr(line, at + RLENGTH))
    next
}
{
    sub(/^ +/, "")
    print text($0)
}
