<?php

declare(strict_types=1);

namespace Edge\Broadcast;

/**
 * Signs what front ends may do: the answers of an application's routes /broadcasting/auth and /broadcasting/user-auth.
 *
 *     $signer = new Signer($key, $secret);
 *     echo json_encode($signer->channel($_POST['socket_id'], $_POST['channel_name']));
 *
 * Key and secret are those of the app in edge.yaml.
 */
final class Signer
{
    public function __construct(
        public readonly string $key,
        #[\SensitiveParameter] private readonly string $secret,
        private readonly ?Encryption $encryption = null,
    ) {
    }

    /**
     * Allows a connection to subscribe to a private or presence channel.
     *
     * @param string|int|null $userId of presence channels: who joins
     * @param mixed           $info   what the other members may know about the user
     *
     * @return array{auth: string, channel_data?: string, shared_secret?: string}
     */
    public function channel(string $socketId, string $channel, string|int|null $userId = null, mixed $info = null): array
    {
        self::check($socketId, $channel);
        $signed = "$socketId:$channel";
        $answer = [];
        if ($userId !== null) {
            $member = ['user_id' => (string) $userId] + ($info === null ? [] : ['user_info' => $info]);
            $answer['channel_data'] = \json_encode($member, \JSON_THROW_ON_ERROR);
            $signed .= ':' . $answer['channel_data'];
        }
        $answer['auth'] = $this->sign($signed);
        if (Encryption::covers($channel)) {
            if ($this->encryption === null) {
                throw new \LogicException("$channel is an encrypted channel: give Edge\\Broadcast\\Signer an Edge\\Broadcast\\Encryption");
            }
            $answer['shared_secret'] = $this->encryption->sharedSecret($channel);
        }

        return $answer;
    }

    /**
     * Says who is behind a connection (pusher.signin()).
     *
     * @param mixed    $info      what others may know about the user
     * @param string[] $watchlist users whose coming and going the user is told
     *
     * @return array{auth: string, user_data: string}
     */
    public function user(string $socketId, string $userId, mixed $info = null, array $watchlist = []): array
    {
        $user = ['id' => $userId] + ($info === null ? [] : ['user_info' => $info]) + ($watchlist === [] ? [] : ['watchlist' => \array_values($watchlist)]);

        return $this->userData($socketId, $user);
    }

    /**
     * Is user() for what an application has made itself: the id, and whatever else the front end is to get.
     *
     * @return array{auth: string, user_data: string}
     */
    public function userData(string $socketId, array $user): array
    {
        self::check($socketId, 'user');
        if ((string) ($user['id'] ?? '') === '') {
            throw new \InvalidArgumentException('the user has no id');
        }
        $data = \json_encode(['id' => (string) $user['id']] + $user, \JSON_THROW_ON_ERROR);

        return ['auth' => $this->sign("$socketId::user::$data"), 'user_data' => $data];
    }

    /** Whether a webhook comes from the server: $signature is its header X-Pusher-Signature. */
    public function verifies(string $body, string $signature): bool
    {
        return \hash_equals(\hash_hmac('sha256', $body, $this->secret), $signature);
    }

    private function sign(string $text): string
    {
        return $this->key . ':' . \hash_hmac('sha256', $text, $this->secret);
    }

    /** What is signed must not read as something else. */
    private static function check(string $socketId, string $channel): void
    {
        if (\preg_match('/\A\d+\.\d+\z/', $socketId) !== 1) {
            throw new \InvalidArgumentException("\"$socketId\" is not a socket id");
        }
        if (\preg_match('/\A[-A-Za-z0-9_=@,.;]+\z/', $channel) !== 1) {
            throw new \InvalidArgumentException("\"$channel\" is not the name of a channel");
        }
    }
}
