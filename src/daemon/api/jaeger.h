/* SPDX-License-Identifier: Apache-2.0 */
/* jaeger - what the two forms of Jaeger's query API share.  Part of api. */
#ifndef FERMATA_API_JAEGER_H
#define FERMATA_API_JAEGER_H

#include "ui.h"

/* One search, whatever its parameters were called. */
struct jaeger_search {
    struct fm_slice service, operation;
    uint64_t start_ns, end_ns;                 /* 0: no bound */
    uint64_t duration_min_ns, duration_max_ns; /* 0: no bound */
    uint64_t limit;
};
/* The term of each member of a JSON object of texts.  FM_EMALFORMED. */
FM_MUST int jaeger_filter_json(struct ui *ui, struct ui_filter *filter, struct fm_slice json,
                               struct fm_why *why);
/* Everything but the tags. */
void jaeger_filter_search(struct ui_filter *filter, const struct jaeger_search *search);
/* FM_EMALFORMED: not a duration of Go's that is above zero. */
FM_MUST int jaeger_duration_parse(struct fm_slice text, uint64_t *ret_ns, struct fm_why *why);

/* Services; the operations of ui->service, by kind if with_kinds: one question for each. */
void jaeger_ask_services(struct ui *ui, void (*asked)(struct ui *ui));
void jaeger_ask_operations(struct ui *ui, bool with_kinds, void (*asked)(struct ui *ui));

/* api_v3: jaeger_v3.c */
extern const struct ui_route jaeger_v3_routes[];
extern const size_t jaeger_v3_route_count;

#endif
