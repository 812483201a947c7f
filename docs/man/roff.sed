# Turns the man page's Markdown into what man reads: sed -E -f roff.sed fermata.8.md > fermata.8
# A term and its ": explanation" become a tagged paragraph.
/^\*/{
    N
    s/^(.*)\n: /.TP\n\1\n/
}
s/\\\*/\x01/g
s/\*\*([^*]+)\*\*/\\fB\1\\fR/g
s/\*([^*]+)\*/\\fI\1\\fR/g
s/\x01/*/g
s/^# ([a-z]+)\(([0-9])\)$/.TH \U\1\E \2/
s/^## (.*)$/.SH \U\1/
s/(^|\n)$/\1.PP/
s/--/\\-\\-/g
