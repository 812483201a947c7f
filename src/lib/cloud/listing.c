/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of names: objects of either service, blocks of Azure. */
#include "internal.h"

#include "fermata/xml.h"

#define LISTING_SCRATCH FM_MIB(2)
#define LISTING_NAME    FM_KIB(4)

struct listing {
    cloud_visit *visit;
    void *self;
};

static int listing_on_element(void *self, struct fm_slice inner)
{
    const struct listing *listing = self;
    struct fm_buf document, name;
    fm_buf_init(&document, FM_KIB(64));
    fm_buf_init(&name, LISTING_NAME);
    fm_buf_puts(&document, "<i>");
    fm_buf_put_slice(&document, inner);
    fm_buf_puts(&document, "</i>");
    int rc = document.failed ? FM_ELIMIT : xml_find(fm_buf_slice(&document), "i/Name", &name);
    if (rc == FM_OK && name.len == 0)
        rc = FM_EMALFORMED;
    if (rc == FM_OK)
        rc = listing->visit(listing->self, fm_buf_slice(&name));
    else if (rc > 0)
        rc = FM_EMALFORMED;
    fm_buf_fini(&document);
    fm_buf_fini(&name);
    return rc;
}

int cloud_blocks_read(struct fm_slice body, cloud_visit *visit, void *self)
{
    struct listing listing = {.visit = visit, .self = self};
    return xml_each(body, "BlockList/UncommittedBlocks/Block", listing_on_element, &listing);
}

static int azure_list_read(struct fm_slice body, struct listing *listing, struct fm_buf *next_page)
{
    int rc = xml_each(body, "EnumerationResults/Blobs/Blob", listing_on_element, listing);
    if (rc != FM_OK)
        return rc;
    rc = xml_find(body, "EnumerationResults/NextMarker", next_page);
    return rc > 0 ? FM_OK : rc;
}

static int gcs_read_item(struct json_reader *reader, struct listing *listing)
{
    struct fm_slice key, name = {0};
    struct json_token value;
    int rc;
    while ((rc = cloud_json_member(reader, &key, &value)) == FM_OK) {
        if (value.kind == JSON_STRING && fm_slice_equal_text(key, "name"))
            name = value.text;
        rc = json_skip(reader, &value);
        if (rc < 0)
            return rc;
    }
    if (rc < 0)
        return rc;
    return name.len ? listing->visit(listing->self, name) : FM_EMALFORMED;
}

static int gcs_read_items(struct json_reader *reader, struct listing *listing)
{
    struct json_token token;
    int rc;
    while ((rc = json_next(reader, &token)) == FM_OK && token.kind == JSON_OBJECT_BEGIN) {
        rc = gcs_read_item(reader, listing);
        if (rc != FM_OK)
            return rc;
    }
    if (rc < 0)
        return rc;
    return rc == FM_OK && token.kind == JSON_ARRAY_END ? FM_OK : FM_EMALFORMED;
}

static int gcs_list_read(struct fm_slice body, struct listing *listing, struct fm_arena *scratch,
                         struct fm_buf *next_page)
{
    struct json_reader reader;
    struct fm_slice key;
    struct json_token value;
    int rc = cloud_json_open(&reader, body, scratch);
    if (rc < 0)
        return rc;
    while ((rc = cloud_json_member(&reader, &key, &value)) == FM_OK) {
        if (value.kind == JSON_ARRAY_BEGIN && fm_slice_equal_text(key, "items")) {
            rc = gcs_read_items(&reader, listing);
        } else {
            if (value.kind == JSON_STRING && fm_slice_equal_text(key, "nextPageToken"))
                fm_buf_put_slice(next_page, value.text);
            rc = json_skip(&reader, &value);
        }
        if (rc != FM_OK)
            return rc;
    }
    return rc == FM_END ? FM_OK : rc;
}

int cloud_list_read(enum cloud_kind kind, struct fm_slice body, cloud_visit *visit, void *self,
                    struct fm_buf *next_page)
{
    struct listing listing = {.visit = visit, .self = self};
    fm_buf_reset(next_page);
    if (kind == CLOUD_AZURE)
        return azure_list_read(body, &listing, next_page);
    struct fm_arena scratch;
    fm_arena_init(&scratch, LISTING_SCRATCH);
    int rc = gcs_list_read(body, &listing, &scratch, next_page);
    fm_arena_fini(&scratch);
    return rc == FM_OK && next_page->failed ? FM_ELIMIT : rc;
}
