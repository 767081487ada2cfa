"""Placeholders in shell text, so that the shell never parses a value. The way in is `prodigy.workflow.shell_words`.

operators   what a placeholder may say besides its path
source      the text with a marker, an ordinary variable, for each placeholder
syntax      the parsers: shfmt for a tree, bash for a second opinion
flow        variables of the script that come to hold values
arguments   words as rules see them: written out, value, or known to the shell alone
rules       where placeholders may not stand, as data; programs: how commands read their arguments, as data
usage       the role of each argument of a command; commands: the rules applied to one call
words, statements   the walk that claims placeholders; findings: what it collects
heredocs    a second reading of here-documents, the way bash reads them
verify      a second look at the finished script
script      the finished script, and how values travel to it
batch       many scripts through one process of each parser
checks      what is checked when the values are there
"""
