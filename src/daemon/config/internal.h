/* SPDX-License-Identifier: Apache-2.0 */
/* config, private: the table as data, and what a loader carries while it reads. */
#ifndef CONFIG_INTERNAL_H
#define CONFIG_INTERNAL_H

#include "fermata/config_named.h"
#include "fermata/ini_text.h"

#define CONFIG_FILE_MAX FM_MIB(1)  /* nobody writes more by hand */
#define CONFIG_TEXT_MAX FM_MIB(16) /* all texts of all files */

enum config_type {
    CONFIG_TEXT,
    CONFIG_LIST,
    CONFIG_LINES,
    CONFIG_BOOL,
    CONFIG_UINT,
    CONFIG_BYTES,
    CONFIG_DURATION,
    CONFIG_RATE,
    CONFIG_PERCENT,
    CONFIG_CHOICE,
};
struct config_key {
    enum config_type type;
    const char *section, *key, *value, *help; /* value: the default; section: or in front of NAME */
    size_t offset;                            /* of the field in struct config, or in the kind's */
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

/* The kinds of sections with a name of their own. */
struct config_kind_row {
    const char *prefix; /* "processor.filter" */
    const struct config_key *keys;
    size_t key_count, size; /* size: of its struct */
};
extern const struct config_kind_row config_kind_rows[CONFIG_KIND_COUNT];

struct config_loader {
    struct config *config; /* borrowed */
    struct ini_complaints complaints;
    struct ini_place places[CONFIG_KEY_COUNT]; /* name NULL: still the default */
    unsigned pass;                             /* of the source being read; see set_in */
    unsigned set_in[CONFIG_KEY_COUNT];         /* the source that set the key last */
    struct config_instance *first, *last;      /* sections with names; in config's arena */
    unsigned instance_count;
    bool no_memory; /* while checking */
};

/* A section with a name, and where its settings came from. */
struct config_instance {
    struct config_named named; /* its next is that instance's named */
    struct config_instance *next;
    void *fields;             /* named.fields, to be written */
    struct ini_place place;   /* where it came first */
    struct ini_place *places; /* by key, as those of the loader */
    unsigned *set_in;
};

/* One setting of one section: what it is and where it goes. */
struct config_slot {
    const struct config_key *key;
    const char *section; /* in full */
    void *field;
    struct ini_place *place;
    unsigned *set_in;
};
/* false: there is no such section (yet), or no such key in it. */
bool config_slot_find(struct config_loader *loader, struct fm_slice section, struct fm_slice key,
                      struct config_slot *ret_slot);
/* A section that is written to; one with a name begins to exist.  false: complained about. */
bool config_section_open(struct config_loader *loader, struct fm_slice section,
                         const struct ini_place *place);
/* Where a setting of a section with a name stands, else where the section began. */
const struct ini_place *config_named_place(const struct config_instance *instance, const char *key);
void config_named_put_defaults(struct fm_buf *out); /* in comments */
void config_named_put_effective(const struct config *config, struct fm_buf *out);
void config_put_help(const struct config_key *key, struct fm_buf *out);
void config_put_setting(const struct config_key *key, const void *field, struct fm_buf *out);

/* cure may be NULL. */
void config_complain(struct config_loader *loader, const struct ini_place *place, const char *cure,
                     const char *format, ...) FM_PRINTF(4, 5);
/* Sets a key from text.  On a bad value it complains and changes nothing. */
void config_set(struct config_loader *loader, const struct config_slot *slot, struct fm_slice value,
                const struct ini_place *place);
void config_append(struct config_loader *loader, const struct config_slot *slot,
                   struct fm_slice value, const struct ini_place *place);
int config_value_parse(const struct config_key *key, struct fm_slice text, struct fm_arena *arena,
                       void *field);
void config_value_print(const struct config_key *key, const void *field, struct fm_buf *out);

void config_read_text(struct config_loader *loader, const char *name, struct fm_slice text);
void config_read_environment(struct config_loader *loader, const char *const *environment);
void config_read_setting(struct config_loader *loader, const char *setting);
void config_check(struct config_loader *loader);
void config_check_listeners(struct config_loader *loader); /* a part of it */
void config_check_exporters(struct config_loader *loader); /* another */
void config_check_processors(struct config_loader *loader);
void config_check_cloud(struct config_loader *loader);
void config_check_sampling(struct config_loader *loader); /* a third */
void config_check_upload_windows(struct config_loader *loader);

/* Unknown names, with a guess of what was meant. */
void config_unknown_key(struct config_loader *loader, const struct ini_place *place,
                        struct fm_slice section, struct fm_slice key);
void config_unknown_section(struct config_loader *loader, const struct ini_place *place,
                            struct fm_slice section);

#endif
