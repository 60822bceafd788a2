<?php
// Runs a script in the first process only; all others fail. Arguments: the script, and a file that tells.
if (@file_put_contents($argv[2], 'x', LOCK_EX | (file_exists($argv[2]) ? FILE_APPEND : 0)) === false || filesize($argv[2]) > 1) {
    exit(3);
}
require __DIR__ . '/' . $argv[1];
