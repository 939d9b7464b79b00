/*
 * Copyright (C) The ngx_snorky_module authors
 *
 * A worker, or a shared one, that is a module.
 */

import { Snorky } from '/client/snorky.mjs';
import '/trip.js';

if ('onconnect' in self) {
    self.onconnect = ({ ports: [port] }) => serve(Snorky, port);
} else {
    serve(Snorky, self);
}
