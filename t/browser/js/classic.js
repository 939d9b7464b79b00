/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A worker that is no module.
 */

'use strict';

importScripts('/client/snorky.js', '/trip.js');

serve(Snorky, self);
