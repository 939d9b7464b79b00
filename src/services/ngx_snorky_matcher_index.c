
/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * The matcher's groups, the paths that their filters name and the terms by
 * which they are found.  Owns all these; the items in the groups are their
 * owner's.  Called by the matcher.
 */


#include "ngx_snorky_matcher_index.h"


static ngx_int_t ngx_snorky_matcher_group_create(
    ngx_snorky_matcher_index_t *index, ngx_str_t *text, uint64_t hash,
    ngx_snorky_matcher_group_t **group);
static ngx_int_t ngx_snorky_matcher_group_index(
    ngx_snorky_matcher_index_t *index, ngx_snorky_matcher_group_t *group);
static ngx_uint_t ngx_snorky_matcher_group_choose(
    ngx_snorky_matcher_index_t *index, ngx_snorky_matcher_group_t *group,
    ngx_snorky_filter_comparison_t *c);
static void ngx_snorky_matcher_group_free(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group);

static ngx_snorky_matcher_path_t *ngx_snorky_matcher_path_ref(
    ngx_snorky_matcher_index_t *index, ngx_str_t *text);
static void ngx_snorky_matcher_path_unref(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_path_t *path);
static ngx_snorky_matcher_term_t *ngx_snorky_matcher_term_create(
    ngx_snorky_matcher_index_t *index, ngx_snorky_matcher_path_t *path,
    ngx_str_t *value);
static void ngx_snorky_matcher_term_free(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_term_t *term);


ngx_int_t
ngx_snorky_matcher_index_group(ngx_snorky_matcher_index_t *index,
    ngx_str_t *filter, ngx_snorky_matcher_group_t **group)
{
    uint64_t                    hash;
    ngx_int_t                   rc;
    ngx_str_t                   key;
    ngx_snorky_matcher_node_t  *node;

    ngx_str_null(&key);

    if (filter) {
        rc = ngx_snorky_json_key(index->keys, filter,
                                 NGX_SNORKY_JSON_ANY_DEPTH, &key);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    hash = ngx_snorky_matcher_hash(index->secret, 0, &key);

    node = ngx_snorky_matcher_table_find(&index->groups, hash, NULL, &key);
    if (node) {
        *group = (ngx_snorky_matcher_group_t *) node;
        return NGX_OK;
    }

    if (ngx_snorky_matcher_table_init(&index->groups, index->log) != NGX_OK
        || ngx_snorky_matcher_table_init(&index->paths, index->log) != NGX_OK
        || ngx_snorky_matcher_table_init(&index->terms, index->log) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_snorky_matcher_group_create(index, filter, hash, group);
}


void
ngx_snorky_matcher_index_remove(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group)
{
    ngx_snorky_matcher_table_remove(&index->groups, &group->node);
    ngx_snorky_matcher_group_free(index, group);
}


void
ngx_snorky_matcher_index_finish(ngx_snorky_matcher_index_t *index)
{
    ngx_snorky_matcher_table_finish(&index->groups);
    ngx_snorky_matcher_table_finish(&index->paths);
    ngx_snorky_matcher_table_finish(&index->terms);

    index->depth = 0;
}


static ngx_int_t
ngx_snorky_matcher_group_create(ngx_snorky_matcher_index_t *index,
    ngx_str_t *text, uint64_t hash, ngx_snorky_matcher_group_t **group)
{
    ngx_int_t                    rc;
    ngx_uint_t                   n;
    ngx_snorky_filter_t         *filter;
    ngx_snorky_matcher_group_t  *g;

    filter = NULL;
    n = 0;

    if (text) {
        rc = ngx_snorky_filter_create(index->json, text, index->log, &filter);
        if (rc != NGX_OK) {
            return rc;
        }

        (void) ngx_snorky_filter_comparisons(filter, &n);
    }

    g = ngx_calloc(sizeof(ngx_snorky_matcher_group_t)
                   + n * sizeof(ngx_snorky_matcher_path_t *),
                   index->log);
    if (g == NULL) {
        if (filter) {
            ngx_snorky_filter_destroy(filter);
        }

        return NGX_ERROR;
    }

    g->filter = filter;
    g->n = n;

    ngx_queue_init(&g->items);

    if (ngx_snorky_matcher_group_index(index, g) != NGX_OK) {
        ngx_snorky_matcher_group_free(index, g);
        return NGX_ERROR;
    }

    g->node.hash = hash;

    if (filter) {
        g->node.key = *ngx_snorky_filter_text(filter);
    }

    ngx_snorky_matcher_table_insert(&index->groups, &g->node, index->log);

    *group = g;

    return NGX_OK;
}


/* finds the group's paths, and puts it where it will be looked for */

static ngx_int_t
ngx_snorky_matcher_group_index(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group)
{
    ngx_uint_t                       i, n;
    ngx_snorky_matcher_term_t       *term;
    ngx_snorky_filter_comparison_t  *c;

    if (group->filter == NULL) {
        ngx_queue_insert_tail(&index->scanned, &group->queue);
        return NGX_OK;
    }

    c = ngx_snorky_filter_comparisons(group->filter, &n);

    for (i = 0; i < n; i++) {
        group->paths[i] = ngx_snorky_matcher_path_ref(index, &c[i].path);

        if (group->paths[i] == NULL) {
            return NGX_ERROR;
        }
    }

    i = ngx_snorky_matcher_group_choose(index, group, c);

    if (i == n) {
        ngx_queue_insert_tail(&index->scanned, &group->queue);
        return NGX_OK;
    }

    term = ngx_snorky_matcher_index_term(index, group->paths[i], &c[i].value);

    if (term == NULL) {
        term = ngx_snorky_matcher_term_create(index, group->paths[i],
                                              &c[i].value);
        if (term == NULL) {
            return NGX_ERROR;
        }
    }

    term->count++;
    group->term = term;

    ngx_queue_insert_tail(&term->groups, &group->queue);

    return NGX_OK;
}


/*
 * The comparison by which the group will be found, or the number of them.  Of
 * several terms that is taken by which the fewest groups are found yet: in
 * ["and",["==","public",true],["==","room",5]] soon the second.
 */

static ngx_uint_t
ngx_snorky_matcher_group_choose(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group, ngx_snorky_filter_comparison_t *c)
{
    ngx_uint_t                  i, best, count, least;
    ngx_snorky_matcher_term_t  *term;

    best = group->n;
    least = NGX_MAX_SIZE_T_VALUE;

    for (i = 0; i < group->n && least; i++) {

        if (!c[i].term) {
            continue;
        }

        term = ngx_snorky_matcher_index_term(index, group->paths[i],
                                             &c[i].value);
        count = term ? term->count : 0;

        if (count < least) {
            best = i;
            least = count;
        }
    }

    return best;
}


/* a group that is in no table; what index() has not come to is NULL */

static void
ngx_snorky_matcher_group_free(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_group_t *group)
{
    ngx_uint_t  i;

    if (group->queue.next) {
        ngx_queue_remove(&group->queue);
    }

    if (group->term && --group->term->count == 0) {
        ngx_snorky_matcher_term_free(index, group->term);
    }

    for (i = 0; i < group->n && group->paths[i]; i++) {
        ngx_snorky_matcher_path_unref(index, group->paths[i]);
    }

    if (group->filter) {
        ngx_snorky_filter_destroy(group->filter);
    }

    ngx_free(group);
}


static ngx_snorky_matcher_path_t *
ngx_snorky_matcher_path_ref(ngx_snorky_matcher_index_t *index, ngx_str_t *text)
{
    uint64_t                    hash;
    ngx_uint_t                  depth;
    ngx_snorky_matcher_path_t  *path;

    hash = ngx_snorky_matcher_hash(index->secret, 0, text);

    path = (ngx_snorky_matcher_path_t *)
           ngx_snorky_matcher_table_find(&index->paths, hash, NULL, text);

    if (path) {
        path->refs++;
        return path;
    }

    path = ngx_calloc(sizeof(ngx_snorky_matcher_path_t) + text->len,
                      index->log);
    if (path == NULL) {
        return NULL;
    }

    path->node.hash = hash;
    path->node.key.data = (u_char *) (path + 1);
    path->node.key.len = text->len;
    ngx_memcpy(path->node.key.data, text->data, text->len);

    path->refs = 1;

    ngx_snorky_matcher_table_insert(&index->paths, &path->node, index->log);

    depth = ngx_snorky_filter_path_depth(text);
    index->depth = ngx_max(index->depth, depth);

    return path;
}


static void
ngx_snorky_matcher_path_unref(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_path_t *path)
{
    if (--path->refs) {
        return;
    }

    ngx_snorky_matcher_table_remove(&index->paths, &path->node);
    ngx_free(path);
}


ngx_snorky_matcher_term_t *
ngx_snorky_matcher_index_term(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_path_t *path, ngx_str_t *value)
{
    uint64_t  hash;

    hash = ngx_snorky_matcher_hash(index->secret, path->node.hash, value);

    return (ngx_snorky_matcher_term_t *)
           ngx_snorky_matcher_table_find(&index->terms, hash, path, value);
}


/* the groups of a term keep its path */

static ngx_snorky_matcher_term_t *
ngx_snorky_matcher_term_create(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_path_t *path, ngx_str_t *value)
{
    ngx_snorky_matcher_term_t  *term;

    term = ngx_calloc(sizeof(ngx_snorky_matcher_term_t) + value->len,
                      index->log);
    if (term == NULL) {
        return NULL;
    }

    term->node.hash = ngx_snorky_matcher_hash(index->secret, path->node.hash,
                                              value);
    term->node.scope = path;
    term->node.key.data = (u_char *) (term + 1);
    term->node.key.len = value->len;
    ngx_memcpy(term->node.key.data, value->data, value->len);

    ngx_queue_init(&term->groups);

    ngx_snorky_matcher_table_insert(&index->terms, &term->node, index->log);

    if (path->terms++ == 0) {
        ngx_queue_insert_tail(&index->indexed, &path->queue);
    }

    return term;
}


static void
ngx_snorky_matcher_term_free(ngx_snorky_matcher_index_t *index,
    ngx_snorky_matcher_term_t *term)
{
    ngx_snorky_matcher_path_t  *path;

    path = term->node.scope;

    if (--path->terms == 0) {
        ngx_queue_remove(&path->queue);
    }

    ngx_snorky_matcher_table_remove(&index->terms, &term->node);
    ngx_free(term);
}
