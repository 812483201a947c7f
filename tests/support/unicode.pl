#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
# Writes the tables of src/lib/regex from the Unicode data that Perl carries:
#   perl tests/support/unicode.pl categories > src/lib/regex/unicode_categories.c
#   perl tests/support/unicode.pl scripts > src/lib/regex/unicode_scripts.c
use strict;
use warnings;
use Unicode::UCD qw(prop_invlist prop_invmap charscripts);

my @categories = qw(Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co);
my $column = 0;

sub item {
    my ($text) = @_;
    if ($column + length($text) + 1 > 99) { print "\n"; $column = 0; }
    if ($column == 0) { print "    $text"; $column = 4 + length $text; }
    else { print " $text"; $column += 1 + length $text; }
}

# Prints one table of [low, high] for all sets and returns where each begins.
sub ranges {
    my ($name, @sets) = @_;
    my (@begins, $count);
    $count = 0;
    print "const struct unicode_range ${name}_ranges[] = {\n";
    $column = 0;
    for my $set (@sets) {
        push @begins, $count;
        my @list = prop_invlist($set->[1]);
        push @list, 0x110000 if @list % 2;
        for (my $i = 0; $i < @list; $i += 2) {
            item(sprintf("{0x%x, 0x%x},", $list[$i], $list[$i + 1] - 1));
            $count++;
        }
    }
    print "\n};\n\nconst struct unicode_set ${name}_sets[] = {\n";
    $column = 0;
    for my $i (0 .. $#sets) {
        my $end = $i < $#sets ? $begins[$i + 1] : $count;
        item(sprintf("{\"%s\", %d, %d},", $sets[$i][0], $begins[$i], $end - $begins[$i]));
    }
    print "\n};\nconst unsigned ${name}_set_count = ", scalar(@sets), ";\n\n";
}

print "/* SPDX-License-Identifier: Apache-2.0 */\n";
print "/* Unicode ", Unicode::UCD::UnicodeVersion(), ": $ARGV[0].\n";
print " * Made by tests/support/unicode.pl; not to be edited. */\n#include \"unicode.h\"\n\n/* clang-format off */\n";
if ($ARGV[0] eq "scripts") {
    my %scripts = %{charscripts()};
    ranges("unicode_script", map { [$_, "sc=$_"] }
        grep { $_ ne "Unknown" && $_ ne "Katakana_Or_Hiragana" } sort keys %scripts);
    exit;
}
ranges("unicode_category", map { [$_, "gc=$_"] } @categories);

# Orbits: every code point with the next one of those that fold to the same, as runs of equal distance.
my ($starts, $maps, $format) = prop_invmap("Simple_Case_Folding");
my %orbit;
for my $i (0 .. $#$starts) {
    next unless $maps->[$i];
    my $end = $i < $#$starts ? $starts->[$i + 1] : 0x110000;
    for my $code ($starts->[$i] .. $end - 1) {
        my $to = $maps->[$i] + $code - $starts->[$i];
        push @{$orbit{$to}}, $code;
    }
}
my %next;
for my $to (keys %orbit) {
    my @all = sort { $a <=> $b } ($to, @{$orbit{$to}});
    $next{$all[$_]} = $all[($_ + 1) % @all] for 0 .. $#all;
}
my @runs;
for my $code (sort { $a <=> $b } keys %next) {
    my $delta = $next{$code} - $code;
    # Pairs of neighbours (upper, lower, upper, ...) make two runs that interleave.
    my ($run) = grep {
        $_->[3] == $delta && $code - $_->[1] <= 2 && $code - $_->[1] == ($_->[2] || $code - $_->[1])
    } @runs[($#runs > 0 ? $#runs - 1 : 0) .. $#runs];
    if ($run) {
        $run->[2] ||= $code - $run->[1];
        $run->[1] = $code;
    } else {
        push @runs, [$code, $code, 0, $delta];
    }
}
print "const struct unicode_fold unicode_folds[] = {\n";
$column = 0;
item(sprintf("{0x%x, 0x%x, %d, %d},", $_->[0], $_->[1], $_->[2] || 1, $_->[3])) for @runs;
print "\n};\nconst unsigned unicode_fold_count = ", scalar(@runs), ";\n";
