/* SPDX-License-Identifier: Apache-2.0 */
/* net_auth - who is on the other side of a listener.  Part of net.
 *
 * A listener may ask for a client certificate (TLS), a password (Basic, checked against an htpasswd
 * file with bcrypt or SHA-crypt hashes), a bearer token (a file of tokens), or the user behind a
 * unix socket.  Whoever presents something that is asked for and right gets an identity; on a
 * listener that asks for nothing everybody is anonymous.  Comparisons take constant time; no
 * credential is ever logged.
 */
#ifndef FERMATA_NET_AUTH_H
#define FERMATA_NET_AUTH_H

#include "fermata/base.h"

#define NET_IDENTITY_NAME_MAX 127

enum net_identity_kind {
    NET_ANONYMOUS,
    NET_CERTIFICATE, /* name: the first DNS name or URI of the certificate, else its CN */
    NET_USER,        /* name: of the htpasswd line */
    NET_TOKEN,       /* name: of the token's line */
    NET_PEER,        /* name: the user's name behind the unix socket, or its number */
};
struct net_identity {
    enum net_identity_kind kind;
    char name[NET_IDENTITY_NAME_MAX + 1];
};
/* "anonymous", "cert", "user", "token", "peer": how overrides files and logs spell kinds. */
const char *net_identity_kind_text(enum net_identity_kind kind);

#endif
