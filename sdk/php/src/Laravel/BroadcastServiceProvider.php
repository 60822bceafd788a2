<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\Broadcast;
use Edge\Broadcast\Encryption;
use Edge\Broadcast\Signer;
use Illuminate\Broadcasting\BroadcastManager;
use Illuminate\Contracts\Container\Container;
use Illuminate\Support\ServiceProvider;

/**
 * The driver "edge" of Laravel's broadcasting:
 *
 *     'connections' => ['edge' => [                                          // config/broadcasting.php
 *         'driver' => 'edge', 'app' => 'main',                               // the name of the app in edge.yaml
 *         'key' => env('PUSHER_APP_KEY'), 'secret' => env('PUSHER_APP_SECRET'),
 *     ]],
 *
 * "encryption_key", 32 bytes in base64, is for private-encrypted- channels. Events are published through the server that runs the
 * worker; commands and queue workers that it does not run need "rpc", the address of its RPC socket.
 */
final class BroadcastServiceProvider extends ServiceProvider
{
    public function boot(): void
    {
        $this->callAfterResolving(BroadcastManager::class, static function (BroadcastManager $manager): void {
            $manager->extend('edge', static fn (Container $app, array $config) => self::make($config));
        });
    }

    private static function make(array $config): Broadcaster
    {
        foreach (['key', 'secret'] as $name) {
            if (!\is_string($config[$name] ?? null) || $config[$name] === '') {
                throw new \InvalidArgumentException("broadcasting: the connection with the driver edge has no \"$name\"; it is that of the app in edge.yaml");
            }
        }
        $encryption = isset($config['encryption_key']) ? new Encryption($config['encryption_key']) : null;
        $rpc = isset($config['rpc']) ? new \Edge\RPC($config['rpc']) : null;

        return new Broadcaster(new Broadcast($config['app'] ?? '', $rpc, $encryption), new Signer($config['key'], $config['secret'], $encryption));
    }
}
