<?php
// A worker that has something left to say when it is told to stop: more than a pipe holds.
require __DIR__ . '/lib.php';

$worker = new Worker();
while ($r = $worker->next()) {
    $worker->respond(200, 'served');
}
$worker->frame('', str_repeat('x', 4 << 20), 0, 0);
touch(getenv('SAID'));
