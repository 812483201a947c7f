/* SPDX-License-Identifier: Apache-2.0 */
/* error - errno to result. */
#include "internal.h"

#include <errno.h>

int linux_rc(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return FM_ENOSPACE;
    case ENOENT:
        return FM_ENOTFOUND;
    case EEXIST:
    case ENOTEMPTY:
        return FM_EEXISTS;
    case EACCES:
    case EPERM:
    case EROFS:
        return FM_EDENIED;
    case EMFILE:
    case ENFILE:
        return FM_EUNAVAILABLE;
    case ENOMEM:
        return FM_ENOMEM;
    default:
        return FM_EIO;
    }
}

int linux_fail(struct fm_why *why, int error, const char *verb, const char *path)
{
    char text[128]; /* strerror is not thread-safe */

    return fm_fail(why, linux_rc(error), "%s %s: %s", verb, path,
                   strerror_r(error, text, sizeof text));
}
