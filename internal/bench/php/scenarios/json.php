<?php

declare(strict_types=1);

// One page of a catalogue, 1,024 bytes of JSON, built and encoded anew for every request.
return static function (callable $body): array {
    $items = [];
    for ($id = 1; $id <= 10; $id++) {
        $items[] = [
            'id' => $id,
            'name' => 'Product ' . $id,
            'price_cents' => 1250 * $id,
            'in_stock' => $id % 3 !== 0,
            'tags' => ['edge', 'php', 'wasm'],
        ];
    }
    $body = json_encode([
        'page' => 1,
        'total' => count($items),
        'items' => $items,
        'note' => 'prices in euros without VAT, delivery in 3 working days',
    ], JSON_THROW_ON_ERROR);

    return ['application/json', $body];
};
