/* SPDX-License-Identifier: Apache-2.0 */
/* config, private: the table as data, and what a loader carries while it reads. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "fermata/config.h"
#include "fermata/ini_text.h"

#define CONFIG_FILE_MAX FM_MIB(1)  /* nobody writes more by hand */
#define CONFIG_TEXT_MAX FM_MIB(16) /* all texts of all files */

enum config_type {
    CONFIG_TEXT,
    CONFIG_LIST,
    CONFIG_BOOL,
    CONFIG_UINT,
    CONFIG_BYTES,
    CONFIG_DURATION,
    CONFIG_CHOICE,
};
struct config_key {
    enum config_type type;
    const char *section, *key, *value, *help; /* value: the default */
    size_t offset;                            /* of the field in struct config */
};
extern const struct config_key config_keys[];
enum { /* the table's length as a constant */
#define X(type, section, key, field, value, help) CONFIG_INDEX_##field,
       CONFIG_KEYS(X)
#undef X
           CONFIG_KEY_COUNT
};
/* NULL if there is no such key. */
const struct config_key *config_key_find(struct fm_slice section, struct fm_slice key);
bool config_section_exists(struct fm_slice section);
const char *config_accepted(enum config_type type); /* the forms a value may have */

struct config_loader {
    struct config *config; /* borrowed */
    struct ini_complaints complaints;
    struct ini_place places[CONFIG_KEY_COUNT]; /* name NULL: still the default */
    unsigned pass;                             /* of the source being read; see set_in */
    unsigned set_in[CONFIG_KEY_COUNT];         /* the source that set the key last */
};

/* cure may be NULL. */
void config_complain(struct config_loader *loader, const struct ini_place *place, const char *cure,
                     const char *format, ...) FM_PRINTF(4, 5);
/* Sets a key from text.  On a bad value it complains and changes nothing. */
void config_set(struct config_loader *loader, const struct config_key *key, struct fm_slice value,
                const struct ini_place *place);
void config_append(struct config_loader *loader, const struct config_key *key,
                   struct fm_slice value, const struct ini_place *place);
int config_value_parse(const struct config_key *key, struct fm_slice text, struct fm_arena *arena,
                       void *field);
void config_value_print(const struct config_key *key, const void *field, struct fm_buf *out);

void config_read_text(struct config_loader *loader, const char *name, struct fm_slice text);
void config_read_environment(struct config_loader *loader, const char *const *environment);
void config_read_setting(struct config_loader *loader, const char *setting);
void config_check(struct config_loader *loader);
void config_check_listeners(struct config_loader *loader); /* a part of it */

/* Unknown names, with a guess of what was meant. */
void config_unknown_key(struct config_loader *loader, const struct ini_place *place,
                        struct fm_slice section, struct fm_slice key);
void config_unknown_section(struct config_loader *loader, const struct ini_place *place,
                            struct fm_slice section);

#endif
