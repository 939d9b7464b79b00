import { Snorky } from './index.js';

/* the file for a <script>: all is found in the class */
globalThis.Snorky = Snorky;
