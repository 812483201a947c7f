/* SPDX-License-Identifier: Apache-2.0 */
/* corpus_words - the vocabulary of the corpus: services and whom they call, routes, statements,
 * functions, messages. */
#ifndef TOOLS_CORPUS_WORDS_H
#define TOOLS_CORPUS_WORDS_H

#include <stdint.h>

#define CORPUS_SERVICES     20
#define CORPUS_INSTANCES    39
#define CORPUS_SCOPES       5
#define CORPUS_ROUTES_EACH  9
#define CORPUS_QUERIES_EACH 6
#define CORPUS_QUERIES      (CORPUS_SERVICES * CORPUS_QUERIES_EACH)
#define CORPUS_FUNCTIONS    90
#define CORPUS_USER_AGENTS  52
#define CORPUS_EXCEPTIONS   8
#define CORPUS_MESSAGES     16

struct corpus_service {
    const char *name, *language;
    uint32_t instance_first, instance_count;
    uint8_t calls[4];
};
struct corpus_route {
    const char *method, *route, *prefix;
    uint32_t service;
};
struct corpus_query {
    const char *system, *space, *table, *operation, *text;
    uint32_t port;
};
struct corpus_function {
    const char *name, *file;
    uint32_t line;
};
extern const struct corpus_service corpus_services[CORPUS_SERVICES];
extern const struct corpus_route corpus_routes[CORPUS_SERVICES * CORPUS_ROUTES_EACH];
extern const struct corpus_query corpus_queries[CORPUS_QUERIES];
extern const struct corpus_function corpus_functions[CORPUS_FUNCTIONS];
extern const char *const corpus_user_agents[CORPUS_USER_AGENTS];
extern const char *const corpus_scopes[CORPUS_SCOPES];
extern const char *const corpus_exceptions[CORPUS_EXCEPTIONS];
extern const char *const corpus_messages[CORPUS_MESSAGES];

#endif
