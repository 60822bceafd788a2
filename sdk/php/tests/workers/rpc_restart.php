<?php

declare(strict_types=1);

// For sdk_test.go: calls once for each line of the input, over one client.

use Edge\KV;
use Edge\RPC;

require __DIR__ . '/../../autoload.php';

$kv = new KV('main', new RPC());
while (fgets(STDIN) !== false) {
    try {
        $kv->set('key', 'value');
        echo $kv->get('key'), "\n";
    } catch (\Throwable $e) {
        echo get_class($e), "\n";
    }
}
