<?php
// The barest loop, for benchmarks as well: it decodes nothing.
require __DIR__ . '/lib.php';
$worker = new Worker();
$context = Worker::head(200, ['Content-Type' => ['text/plain']]);
while (true) {
    [$flags, , $options, $payload] = $worker->read();
    if ($flags & 1) {
        if (str_contains($payload, 'stop')) {
            break;
        }
        $worker->write('{"pid":' . getmypid() . '}', 0x01);
    } elseif ($options !== []) {
        $worker->frame($context, 'Hello, World!');
    }
}
