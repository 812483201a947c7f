/* SPDX-License-Identifier: Apache-2.0 */
/* xml - just enough XML 1.0 for object stores' answers: elements and text.  Part of wire.
 * No DTD, no entity beyond the five and character references; both refuse the document. */
#ifndef FERMATA_XML_H
#define FERMATA_XML_H

#include "fermata/base.h"

#define XML_DEPTH_MAX    16
#define XML_DOCUMENT_MAX FM_MIB(1)

/* Text content of the first element at path ("Error/Code"; the root's name included, prefixes of
 * namespaces ignored), entity references resolved into target.
 * FM_OK; FM_NONE: no such element; FM_EMALFORMED; FM_ELIMIT: too deep, too long, or target too
 * small. */
FM_MUST int xml_find(struct fm_slice document, const char *path, struct fm_buf *target);

/* Calls visit for every element at path with its inner XML (not resolved). A non-zero result of
 * visit stops and is returned. */
FM_MUST int xml_each(struct fm_slice document, const char *path,
                     int (*visit)(void *self, struct fm_slice inner), void *self);

#endif
