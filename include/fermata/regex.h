/* SPDX-License-Identifier: Apache-2.0 */
/* regex - regular expressions with the syntax and the answers of RE2 (Go's regexp), in linear time.
 *
 * A pattern is compiled once, into a program for a Pike machine and a lazily built, bounded cache
 * of deterministic states; matching never backtracks.  Patterns that are literals, prefixes or
 * alternations of these never reach the machine.  Neither back-references nor look-around exist.
 * Source of the syntax: https://github.com/google/re2/wiki/Syntax.
 */
#ifndef FERMATA_REGEX_H
#define FERMATA_REGEX_H

#include "fermata/base.h"

struct regex_limits {
    uint32_t pattern_bytes_max; /* 6 KiB: some hundred names, as choosers send them */
    uint32_t program_max;       /* instructions, after repetitions are unrolled: 40,000 */
    uint32_t depth_max;         /* of groups: 256 */
    uint32_t cache_bytes_max;   /* deterministic states of one matcher: 256 KiB */
};
extern const struct regex_limits regex_limits_default;

/* Immutable after compilation; shared by any number of threads. */
struct regex;
/* The whole text must match, and the dot matches line feeds: what TraceQL means by =~.
 * FM_EMALFORMED with RE2's words for what is wrong; FM_ELIMIT; FM_ENOMEM. */
FM_MUST int regex_new(struct regex **ret_regex, struct fm_slice pattern,
                      const struct regex_limits *limits, struct fm_why *why);
struct regex *regex_free(struct regex *regex);
FM_DEFINE_AUTO(regex)

/* Matching state of one thread: scratch and the cache; grows to its limit and starts over. */
struct regex_matcher;
FM_MUST int regex_matcher_new(struct regex_matcher **ret_matcher, const struct regex *regex);
struct regex_matcher *regex_matcher_free(struct regex_matcher *matcher);
/* Bytes that are not UTF-8 count as U+FFFD, one each. */
bool regex_match(struct regex_matcher *matcher, struct fm_slice text);

/* Texts that match, if the pattern is nothing but an alternation of literals; count 0: it is not,
 * or there are more than 64.  Borrowed from regex. */
const struct fm_slice *regex_literals(const struct regex *regex, uint32_t *ret_count);
/* What every match begins with; may be empty. */
struct fm_slice regex_prefix(const struct regex *regex);

#endif
