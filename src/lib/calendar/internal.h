/* SPDX-License-Identifier: Apache-2.0 */
/* What the parser of schedules and their evaluation share. */
#ifndef CALENDAR_INTERNAL_H
#define CALENDAR_INTERNAL_H

#include "fermata/calendar.h"

#define CALENDAR_DAY_S      INT64_C(86400)
#define CALENDAR_MINUTES    1440u
#define CALENDAR_WORDS      ((CALENDAR_MINUTES + 63) / 64)
#define CALENDAR_YEARS_MAX  8u
#define CALENDAR_YEAR_FIRST 1970u
#define CALENDAR_YEAR_LAST  2199u

struct calendar_span { /* from, from + step, ... up to to */
    uint32_t from, to, step;
};
struct calendar_line {
    uint8_t weekdays; /* bit 0: Monday */
    struct calendar_span years[CALENDAR_YEARS_MAX];
    uint32_t year_count;            /* 0: every year */
    uint16_t months;                /* bit 1: January */
    uint32_t days;                  /* bit 1: the first */
    uint32_t last_days;             /* bit 1: the last of the month, bit 2: the one before */
    uint64_t own[CALENDAR_WORDS];   /* minutes of a day that matches */
    uint64_t spill[CALENDAR_WORDS]; /* minutes of the day behind it */
};
struct calendar {
    struct calendar_line lines[CALENDAR_LINES_MAX];
    uint32_t line_count;
};

#endif
