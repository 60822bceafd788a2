<?php
// A worker that takes large bodies as files, as sdk/php does.
require __DIR__ . '/lib.php';
$worker = new Worker(json_encode(['pid' => getmypid(), 'edge' => ['v' => 1, 'features' => ['body-file']]]));
while ($r = $worker->next()) {
    $file = $r->attributes['edge.body_file'][0] ?? '';
    $worker->respond(200, json_encode(['file' => $file, 'size' => $file === '' ? 0 : filesize($file), 'md5' => md5($file === '' ? $r->body : file_get_contents($file)), 'body' => strlen($r->body)]));
}
