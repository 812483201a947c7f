/* SPDX-License-Identifier: Apache-2.0 */
/* cloud - Azure Blob Storage and Google Cloud Storage without a socket: requests, what an answer
 * means, tokens.  Time and randomness come in as arguments; outcomes are those of s3.
 *
 * Sources: the REST references of both services, RFC 7515 and 7523; docs/formats/cloud.md.
 */
#ifndef FERMATA_CLOUD_H
#define FERMATA_CLOUD_H

#include "fermata/base.h"
#include "fermata/s3.h"

#define CLOUD_TARGET_MAX   2048      /* of a session, as the server gave it */
#define CLOUD_BLOCK_ID_LEN 28        /* base64 of 20 bytes */
#define CLOUD_BLOCKS_MAX   50000     /* of one Azure blob */
#define CLOUD_CHUNK_BYTES  262144    /* Google takes multiples of it */
#define CLOUD_TOKEN_MAX    FM_KIB(8) /* a bearer token: it goes into a header */

struct cloud_url {
    char scheme[8]; /* http or https */
    char host[254]; /* without port */
    uint16_t port;
    char path[256]; /* "", or begins with '/' and does not end with one */
};
FM_MUST int cloud_url_parse(struct fm_slice text, struct cloud_url *ret_url, struct fm_why *why);

enum cloud_kind { CLOUD_AZURE, CLOUD_GCS };
struct cloud_place { /* set the texts, then cloud_place_set */
    enum cloud_kind kind;
    struct cloud_url url;
    char account[64]; /* Azure */
    char bucket[224]; /* Azure: the container */
    char prefix[512], control_prefix[512];
};
/* endpoint "": the service's own.  Checks the names, trims the prefixes' slashes. */
FM_MUST int cloud_place_set(struct cloud_place *place, const char *endpoint, struct fm_why *why);

/* What a request is allowed by. */
enum cloud_secret_kind { CLOUD_ANONYMOUS, CLOUD_SHARED_KEY, CLOUD_SAS, CLOUD_BEARER };
struct cloud_secret {
    enum cloud_secret_kind kind;
    struct fm_slice bytes; /* the decoded key; the signature's query; the token */
};

enum cloud_verb {
    CLOUD_PUT,
    CLOUD_HEAD,
    CLOUD_GET,
    CLOUD_LIST,
    CLOUD_BEGIN,    /* Google: a session */
    CLOUD_BLOCK,    /* Azure: one block; Google: the next bytes of a session */
    CLOUD_COMMIT,   /* Azure: of the blocks named in the body */
    CLOUD_PROGRESS, /* Azure: blocks that are not committed; Google: how far the session is */
};
struct cloud_call {
    enum cloud_verb verb;
    struct fm_slice key; /* below the prefix; of a list: what the names begin with */
    bool is_control;     /* below the control prefix instead */
    bool create_only;
    uint64_t size;               /* of the object */
    uint64_t offset, length;     /* BLOCK: of what is sent */
    const uint8_t *md5;          /* Azure: 16 bytes of what is sent, or NULL */
    const uint8_t *crc32c;       /* Google: 4 bytes of the object, big-endian, or NULL */
    struct fm_slice block_id;    /* Azure: base64 */
    struct fm_slice session;     /* Google: cloud_answer.session */
    struct fm_slice after, page; /* LIST: names behind it (a hint); the next page */
    const char *boundary;        /* Google's PUT: 32 hex digits, random */
};
/* The object's name: the prefix, then the key. */
void cloud_object_name(const struct cloud_place *place, const struct cloud_call *call,
                       struct fm_buf *name);
/* FM_ECONFIG: a secret that cannot stand in a header. */
FM_MUST int cloud_request_build(const struct cloud_place *place, const struct cloud_secret *secret,
                                const struct cloud_call *call, int64_t unix_s,
                                struct fm_arena *arena, struct s3_request *ret_request);
/* The text that Azure's shared key signs. */
FM_MUST int cloud_azure_string_to_sign(const struct cloud_place *place,
                                       const struct s3_request *request, struct fm_buf *text);
/* What goes before and behind the content of Google's PUT; the body of BEGIN. */
void cloud_gcs_put_frame(const struct cloud_place *place, const struct cloud_call *call,
                         struct fm_buf *head, struct fm_buf *tail);
void cloud_gcs_begin_body(const struct cloud_place *place, const struct cloud_call *call,
                          struct fm_buf *body);
/* A block's name says which it is and what is in it: what is there need not be sent again. */
void cloud_block_id(uint32_t number, const uint8_t md5[16], char ret_id[CLOUD_BLOCK_ID_LEN + 1]);
FM_MUST int cloud_block_id_parse(struct fm_slice id, uint32_t *ret_number);
void cloud_commit_block(struct fm_buf *body, struct fm_slice id); /* the first begins it */
void cloud_commit_end(struct fm_buf *body);

struct cloud_answer {
    enum s3_outcome outcome;
    char code[64], message[192];
    int64_t date_unix_s; /* 0: it is not said */
    uint32_t retry_after_s;
    uint64_t size; /* of the object: HEAD, GET, and Google's writes */
    bool has_md5, has_crc32c;
    uint8_t md5[16], crc32c[4]; /* of what the server has */
    char session[CLOUD_TARGET_MAX];
    bool is_open;      /* BLOCK, PROGRESS of Google: there is more to send */
    uint64_t received; /* so many bytes are there */
};
/* The table is in docs/formats/cloud.md, one test row each.  Of the body at most 64 KiB count. */
void cloud_answer_read(enum cloud_kind kind, const struct cloud_call *call,
                       const struct s3_response_view *response, struct cloud_answer *ret_answer);
/* Names of a page of LIST, whole, and the next page ("": none).  Names of blocks of PROGRESS.
 * A non-zero result of visit ends and is returned.  FM_EMALFORMED, FM_ELIMIT, FM_ENOMEM. */
typedef int cloud_visit(void *self, struct fm_slice name);
FM_MUST int cloud_list_read(enum cloud_kind kind, struct fm_slice body, cloud_visit *visit,
                            void *self, struct fm_buf *next_page);
FM_MUST int cloud_blocks_read(struct fm_slice body, cloud_visit *visit, void *self);

/* ---- tokens ---- */

enum cloud_auth {
    CLOUD_AUTH_NONE,
    CLOUD_AUTH_SHARED_KEY,      /* Azure: a file with the account's key */
    CLOUD_AUTH_SAS,             /* Azure: a file with the signature's query */
    CLOUD_AUTH_WORKLOAD,        /* Azure: a federated token, exchanged */
    CLOUD_AUTH_MANAGED,         /* Azure: the machine's identity */
    CLOUD_AUTH_SERVICE_ACCOUNT, /* Google: a key file, signed, exchanged */
    CLOUD_AUTH_METADATA,        /* Google: the machine's account */
};
struct cloud_token_ask {
    enum cloud_auth auth;
    const struct cloud_url *url;       /* of the authority, the metadata server, token_uri */
    const char *tenant_id, *client_id; /* Azure; client_id may be "" with CLOUD_AUTH_MANAGED */
    struct fm_slice assertion;         /* the federated token; cloud_assertion_put */
};
/* The body, if any, lives in the arena as the rest does. */
FM_MUST int cloud_token_request(const struct cloud_token_ask *ask, struct fm_arena *arena,
                                struct s3_request *ret_request, struct fm_slice *ret_body);
struct cloud_token {
    enum s3_outcome outcome; /* S3_DONE, S3_AUTH, S3_SLOW_DOWN, S3_TRANSIENT, S3_REFUSED */
    struct fm_slice token;   /* in the arena */
    uint64_t lifetime_s;
    char code[64], message[192];
    int64_t date_unix_s;
    uint32_t retry_after_s;
};
void cloud_token_read(const struct s3_response_view *response, struct fm_arena *arena,
                      struct cloud_token *ret_token);

/* A service account's key file. */
struct cloud_account {
    struct fm_slice email, key_id, token_uri; /* key_id may be empty */
    struct fm_slice key_pem;                  /* a NUL is behind it */
};
FM_MUST int cloud_account_read(struct fm_slice text, struct fm_arena *arena,
                               struct cloud_account *ret_account, struct fm_why *why);
void cloud_account_wipe(struct cloud_account *account);                  /* the key, in the arena */
typedef int cloud_random(void *self, unsigned char *target, size_t len); /* 0: done */
/* Appends a JSON Web Token, RS256: iss, scope, aud, iat and exp (an hour later). */
FM_MUST int cloud_assertion_put(const struct cloud_account *account, const char *scope,
                                int64_t unix_s, cloud_random *random, void *random_self,
                                struct fm_buf *jwt, struct fm_why *why);

/* ---- signer.c, by mbedtls ---- */

void cloud_hmac_sha256(struct fm_slice key, struct fm_slice message, uint8_t ret_mac[32]);
/* RSASSA-PKCS1-v1_5 with SHA-256.  FM_ECONFIG: not a key that can do it. */
FM_MUST int cloud_rs256_sign(struct fm_slice key_pem, struct fm_slice message, cloud_random *random,
                             void *random_self, struct fm_buf *signature, struct fm_why *why);

#endif
