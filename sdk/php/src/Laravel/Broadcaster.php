<?php

declare(strict_types=1);

namespace Edge\Laravel;

use Edge\Broadcast;
use Edge\Broadcast\Signer;
use Edge\Exception\EdgeException;
use Illuminate\Broadcasting\BroadcastException;
use Illuminate\Broadcasting\Broadcasters\Broadcaster as LaravelBroadcaster;
use Illuminate\Broadcasting\Broadcasters\UsePusherChannelConventions;
use Symfony\Component\HttpKernel\Exception\AccessDeniedHttpException;

/**
 * Laravel's broadcasting over the server that runs the worker. Front ends see no difference to the drivers "pusher" and "reverb";
 * see BroadcastServiceProvider for the set-up.
 */
final class Broadcaster extends LaravelBroadcaster
{
    use UsePusherChannelConventions;

    public function __construct(private readonly Broadcast $broadcast, private readonly Signer $signer)
    {
    }

    /** Answers /broadcasting/auth: routes/channels.php decides. */
    public function auth($request)
    {
        $channel = (string) $request->input('channel_name');
        $name = $this->normalizeChannelName($channel);
        if ($channel === '' || ($this->isGuardedChannel($channel) && !$this->retrieveUser($request, $name))) {
            throw new AccessDeniedHttpException();
        }

        return $this->verifyUserCanAccessChannel($request, $name);
    }

    /** The signed answer for a channel that routes/channels.php allows; $result is what its callback returned. */
    public function validAuthenticationResponse($request, $result)
    {
        $channel = (string) $request->input('channel_name');
        $socket = (string) $request->input('socket_id');
        try {
            if (!\str_starts_with($channel, 'presence-')) {
                return $this->signer->channel($socket, $channel);
            }
            $user = $this->retrieveUser($request, $this->normalizeChannelName($channel));

            return $this->signer->channel($socket, $channel, $this->idOf($user), $result);
        } catch (\InvalidArgumentException) {
            throw new AccessDeniedHttpException(); // names that nobody may have
        }
    }

    /**
     * Answers /broadcasting/user-auth, a route of Laravel 9 and later: who is signed in to the application is on the WebSocket, too.
     * Broadcast::resolveAuthenticatedUserUsing() may say more: the id, user_info and watchlist.
     */
    public function resolveAuthenticatedUser($request)
    {
        $resolve = $this->authenticatedUserCallback ?? null;
        $user = match (true) {
            $resolve !== null => $resolve($request),
            $request->user() !== null => ['id' => $this->idOf($request->user())],
            default => null,
        };

        return $user === null ? null : $this->signer->userData((string) $request->input('socket_id'), $user);
    }

    public function broadcast(array $channels, $event, array $payload = [])
    {
        $socket = $payload['socket'] ?? null;
        unset($payload['socket']);
        try {
            // One event goes to at most 100 channels.
            foreach (\array_chunk($this->formatChannels($channels), 100) as $some) {
                $this->broadcast->publish($some, $event, $payload, $socket);
            }
        } catch (EdgeException $e) {
            throw new BroadcastException('Edge: ' . $e->getMessage(), 0, $e);
        }
    }

    private function idOf(mixed $user): string
    {
        return (string) (\method_exists($user, 'getAuthIdentifierForBroadcasting') ? $user->getAuthIdentifierForBroadcasting() : $user->getAuthIdentifier());
    }
}
