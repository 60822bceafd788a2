<?php

return [
    'default' => 'edge',
    'connections' => [
        'edge' => [
            'driver' => 'edge',
            'app' => 'main',
            'key' => env('PUSHER_APP_KEY'),
            'secret' => env('PUSHER_APP_SECRET'),
        ],
    ],
];
