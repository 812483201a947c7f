/* SPDX-License-Identifier: Apache-2.0 */
/* password - does a password belong to a hash?  Thread-safe; takes tens of milliseconds. */
#ifndef NET_PASSWORD_H
#define NET_PASSWORD_H

#include "fermata/base.h"

bool password_matches(const char *password, const char *hash);
/* The system's crypt knows this kind of hash. */
bool password_hash_is_known(const char *hash);

#endif
